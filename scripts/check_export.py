#!/usr/bin/env python3
"""Loads a model folder with `transformers` and compares its logits with another's.

    python scripts/check_export.py MODEL_DIR                     # loads, and nothing is missing
    python scripts/check_export.py MODEL_DIR --against OTHER_DIR
    python scripts/check_export.py MODEL_DIR --against LOGITS.json
    python scripts/check_export.py MODEL_DIR --adapter ADAPTER_DIR --against MERGED_DIR

Both sides are computed in float32 on fixed ids. LOGITS.json holds what another program
computed: {"rows": [{"ids": [...], "positions": [...], "logits": [[...], ...]}, ...]}, one
list of logits a position. One line is printed with the largest difference, relative to the
largest logit; past --tolerance (1e-5), or where a tensor is missing, left over or not
finite, the exit status is 1. With --adapter PEFT lays that folder's adapter beside the model
first. Needs torch, transformers and safetensors, peft for adapters, and bitsandbytes for folders
in codes.
"""

import argparse
import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import ctypes


def refused(*_):
    raise OSError("the compiled library is not to be loaded")


# Folders in codes are read by bitsandbytes' PyTorch implementation: its compiled library for
# CPUs takes each row's scales from a block of its own, which is wrong where rows end within
# one, and computes in bf16 on processors that have it.
loading, ctypes.LibraryLoader.LoadLibrary = ctypes.LibraryLoader.LoadLibrary, refused
os.environ["TORCHDYNAMO_DISABLE"] = "1"
try:
    import bitsandbytes  # noqa: F401
except ImportError:
    pass
ctypes.LibraryLoader.LoadLibrary = loading

import torch
from transformers import AutoModelForCausalLM

LENGTHS = (1, 17, 64)


def load(folder: Path):
    model, loading = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    problems = [f"{kind}: {', '.join(map(str, names))}" for kind, names in loading.items() if names]
    if problems:
        sys.exit(f"{folder}: {'; '.join(problems)}")
    return model.eval()


def with_adapter(model, folder: Path):
    """Every tensor of the folder must have found its place, and no other be left as it began."""
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors.torch import load_file
    model = PeftModel.from_pretrained(model, folder).eval()
    held, there = load_file(folder / "adapter_model.safetensors"), get_peft_model_state_dict(model)
    if set(held) != set(there):
        sys.exit(f"{folder}: of its tensors and PEFT's only one side has "
                 f"{', '.join(sorted(set(held) ^ set(there))[:5])}")
    for name, tensor in held.items():
        if not torch.equal(tensor.float(), there[name].float()):
            sys.exit(f"{folder}: {name} was not loaded")
    return model


def fixed_rows(config) -> list:
    """Ids spread over the vocabulary, and every position of each sequence."""
    limit = config.max_position_embeddings
    return [{"ids": [(13 + 7919 * i) % config.vocab_size for i in range(min(n, limit))],
             "positions": list(range(min(n, limit)))} for n in LENGTHS]


@torch.no_grad()
def logits(model, row) -> torch.Tensor:
    return model(torch.tensor([row["ids"]])).logits[0, row["positions"]]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL_DIR")
    parser.add_argument("--against", type=Path, metavar="DIR|JSON")
    parser.add_argument("--adapter", type=Path, metavar="DIR")
    parser.add_argument("--tolerance", type=float, default=1e-5)
    args = parser.parse_args()
    for path in filter(None, (args.model, args.against, args.adapter)):
        if not path.exists():
            parser.error(f"{path} does not exist")

    model = load(args.model)
    if args.adapter:
        model = with_adapter(model, args.adapter)
    rows = fixed_rows(model.config)
    if args.against and args.against.is_file():
        rows = json.loads(args.against.read_text())["rows"]
    got = [logits(model, row) for row in rows]
    if not all(g.isfinite().all() for g in got):
        sys.exit(f"{args.model}: logits are not finite")
    if not args.against:
        print(f"{args.model}: loads, {sum(p.numel() for p in model.parameters()):,} parameters")
        return 0

    if args.against.is_file():
        wanted = [torch.tensor(row["logits"]) for row in rows]
    else:
        other = load(args.against)
        wanted = [logits(other, row) for row in rows]
    for g, w in zip(got, wanted):
        if g.shape != w.shape:
            sys.exit(f"{args.model}: logits {list(g.shape)}, but {list(w.shape)} in {args.against}")
    scale = max(w.abs().max().item() for w in wanted)
    worst = max((g - w).abs().max().item() for g, w in zip(got, wanted)) / scale
    same = worst <= args.tolerance  # false for NaN too
    print(f"{args.model} against {args.against}: max relative difference {worst:.3g} "
          f"({'within' if same else 'past'} {args.tolerance:g})")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
