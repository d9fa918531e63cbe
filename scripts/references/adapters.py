#!/usr/bin/env python3
"""Adapters that PEFT makes and trains: where each begins, its losses, and how it ends.

    python scripts/references/models.py        # first: the models
    python scripts/references/training.py      # and the batches
    python scripts/references/adapters.py      # writes tests/fixtures/adapters

Each case is a folder as PEFT saves it, from before training, and a file of the curve. The
second matrices begin away from 0, so that the scale shows from the first loss on. Rows and
losses are those of training.py; AdamW at 1e-3. A curve is checked against the same run in
float64 before it is written.
"""

import json
import shutil

from _common import FIXTURES, arguments, rounded, write_json

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from training import batch_loss, difference

ADAPTERS = FIXTURES / "adapters"
STEPS = 40

CASES = {
    "query_value": ("llama2_tiny", dict(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"])),
    "all_linear": ("llama32_tiny", dict(r=4, lora_alpha=16, target_modules="all-linear")),
    "rank_stabilized": ("llama32_tiny", dict(
        r=4, lora_alpha=6, use_rslora=True, target_modules=["k_proj", "o_proj", "gate_proj"])),
    "patterns": ("llama2_tiny", dict(
        r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"],
        rank_pattern={"v_proj": 2, "layers.1.mlp.down_proj": 6},
        alpha_pattern={"q_proj": 12})),
    "also_norm": ("llama32_tiny", dict(
        r=4, lora_alpha=16, target_modules=["up_proj", "down_proj"],
        modules_to_save=["model.norm"])),
    "also_head": ("llama2_tiny", dict(
        r=4, lora_alpha=16, target_modules=["o_proj"],
        modules_to_save=["lm_head", "embed_tokens"])),
}


def load(name: str):
    return AutoModelForCausalLM.from_pretrained(
        FIXTURES / "models" / name, dtype=torch.float32, attn_implementation="eager")


def start(name: str, config: dict):
    torch.manual_seed(3)
    model = get_peft_model(load(name), LoraConfig(task_type="CAUSAL_LM", **config))
    generator = torch.Generator().manual_seed(5)
    for key, parameter in model.named_parameters():
        if ".lora_B." in key:
            with torch.no_grad():
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def train(model, batches):
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    rule = torch.optim.AdamW(trained.values(), lr=1e-3, weight_decay=0.01, foreach=False)
    losses = []
    for step in range(STEPS):
        rule.zero_grad()
        losses.append(batch_loss(model, batches[step % len(batches)], backward=True))
        rule.step()
    return losses, trained


def plain(name: str) -> str:
    """As the tensor is called in the folder, without PEFT's prefix."""
    return (name.removeprefix("base_model.model.").replace(".default", "")
            .replace(".modules_to_save", ""))


def main() -> None:
    arguments(__doc__)
    batches = json.loads((FIXTURES / "training" / "batches.json").read_text())
    for case, (name, config) in CASES.items():
        folder = ADAPTERS / case
        shutil.rmtree(folder, ignore_errors=True)
        model = start(name, config).train()
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        saved = json.loads((folder / "adapter_config.json").read_text())
        saved["base_model_name_or_path"] = name
        for key in ("target_modules", "modules_to_save"):  # a set's order is any
            if isinstance(saved[key], list):
                saved[key].sort()
        (folder / "adapter_config.json").write_text(json.dumps(saved, indent=2) + "\n")
        losses, trained = train(model, batches)
        exact, _ = train(start(name, config).double().train(), batches)
        error = difference(losses, exact)
        assert error < 1e-5, f"{case}: {error} from float64"
        print(f"  {case}: loss {losses[0]:.4f} to {losses[-1]:.4f}, {error:.1e} from float64")
        write_json(ADAPTERS / f"{case}.json", {
            "model": name,
            "loss": rounded(losses),
            "parameters": {plain(n): rounded(p.detach().double().norm())
                           for n, p in trained.items()},
        })


if __name__ == "__main__":
    main()
