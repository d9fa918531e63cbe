#!/usr/bin/env python3
"""A tiny model of each family, what `transformers` computes with it, and how it trains.

    python scripts/references/training.py      # first: the batches
    python scripts/references/families.py      # tests/fixtures/families, training/family_*

config.json is in the spelling of one release of transformers, other/config.json in that of
the other: 4 writes torch_dtype, rope_theta and rope_scaling, 5 dtype and rope_parameters.
Both must make one model. Weights are bf16 numbers; everything is computed in float32 and
checked against float64. Heads have another size than hidden_size over their number, and
windows are shorter than most sequences.
"""

import json
import shutil

from _common import FIXTURES, arguments

import torch
from transformers import AutoConfig, AutoModelForCausalLM

import models
import training

FAMILIES = FIXTURES / "families"

SIZES = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 256,
    "vocab_size": models.VOCAB,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "attention_dropout": 0.0,
    "use_cache": True,
}

# What each adds, in the spelling of transformers 4. `theta` goes where a release has it.
CONFIGS = {
    # As SmolLM2's is published.
    "llama_smollm2": {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "rms_norm_eps": 1e-5,
        "attention_bias": False, "mlp_bias": False, "pretraining_tp": 1,
        "is_llama_config": True, "rope_interleaved": False, "theta": 100000.0,
        "tie_word_embeddings": True,
        "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16", "fp16": "float16"}},
    },
    "mistral_window": {
        "architectures": ["MistralForCausalLM"], "model_type": "mistral",
        "rms_norm_eps": 1e-5, "head_dim": 24, "sliding_window": 8, "theta": 10000.0,
        "tie_word_embeddings": False,
    },
    "mistral": {
        "architectures": ["MistralForCausalLM"], "model_type": "mistral",
        "rms_norm_eps": 1e-5, "head_dim": 24, "sliding_window": None, "theta": 1000000.0,
        "tie_word_embeddings": False,
    },
    "qwen2": {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "rms_norm_eps": 1e-6,
        "use_sliding_window": False, "sliding_window": 8, "max_window_layers": 1,
        "use_mrope": False, "theta": 1000000.0, "tie_word_embeddings": True,
    },
    "qwen2_window": {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "rms_norm_eps": 1e-6,
        "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1,
        "theta": 1000000.0, "tie_word_embeddings": False, "head_dim": 24,
    },
    "qwen3": {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "rms_norm_eps": 1e-6,
        "head_dim": 24, "attention_bias": False, "use_sliding_window": False,
        "sliding_window": None, "max_window_layers": 2, "theta": 1000000.0,
        "tie_word_embeddings": True,
    },
    "granite": {
        "architectures": ["GraniteForCausalLM"], "model_type": "granite",
        "rms_norm_eps": 1e-5, "attention_bias": False, "mlp_bias": False, "theta": 10000.0,
        "embedding_multiplier": 12.0, "attention_multiplier": 0.11,
        "residual_multiplier": 0.22, "logits_scaling": 6.0, "tie_word_embeddings": True,
        "head_dim": 24,
    },
    "smollm3": {
        "architectures": ["SmolLM3ForCausalLM"], "model_type": "smollm3",
        "num_hidden_layers": 4, "rms_norm_eps": 1e-6, "attention_bias": False,
        "mlp_bias": False, "no_rope_layer_interval": 4, "no_rope_layers": [1, 0, 1, 1],
        "use_sliding_window": False, "sliding_window": None, "theta": 2000000.0,
        "max_window_layers": 28, "tie_word_embeddings": True, "pad_token_id": 3,
    },
    "phi3": {
        "architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "rms_norm_eps": 1e-5,
        "attention_bias": False, "resid_pdrop": 0.0, "embd_pdrop": 0.0,
        "original_max_position_embeddings": 256, "sliding_window": 8, "theta": 10000.0,
        "tie_word_embeddings": False, "pad_token_id": 3,
        "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"},
    },
}

# Those whose config.json is what transformers 5 writes.
NEW = ("mistral", "qwen2_window", "qwen3", "granite")


def old_spelling(config: dict) -> dict:
    theta = config.pop("theta")
    return config | {"rope_theta": theta, "rope_scaling": None, "torch_dtype": "bfloat16",
                     "transformers_version": "4.48.0"}


def new_spelling(folder) -> dict:
    """What save_pretrained() writes of a folder's config."""
    config = AutoConfig.from_pretrained(folder)
    config.dtype = torch.bfloat16
    text = json.loads(config.to_json_string())
    text["architectures"] = json.loads((folder / "config.json").read_text())["architectures"]
    return text


def write_family(name: str, seed: int, batches) -> None:
    folder = FAMILIES / name
    shutil.rmtree(folder, ignore_errors=True)
    other = folder / "other"
    other.mkdir(parents=True)
    models.write_config(folder, old_spelling(SIZES | CONFIGS[name]))
    models.write_config(other, new_spelling(folder))
    if name in NEW:
        (folder / "config.json").rename(folder / "swap")
        (other / "config.json").rename(folder / "config.json")
        (folder / "swap").rename(other / "config.json")

    weights = models.random_weights(AutoConfig.from_pretrained(folder), 200 + seed)
    models.save({n: t.bfloat16() for n, t in weights.items()}, folder / "model.safetensors")
    model = models.write_reference(folder).float()
    again = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(other),
                                             attn_implementation="eager").float().eval()
    again.load_state_dict(model.state_dict())
    ids = torch.arange(3, 103)[None]
    with torch.no_grad():
        assert torch.equal(model(ids).logits, again(ids).logits), f"{name}: two models"
    for optimizer in ("adamw", "sgd"):
        training.write_curve(f"family_{name}_{optimizer}", f"../families/{name}", batches,
                             "all", optimizer)


def main() -> None:
    arguments(__doc__)
    torch.set_num_threads(1)
    for old in training.TRAINING.glob("family_*.json"):
        old.unlink()
    batches = json.loads((training.TRAINING / "batches.json").read_text())
    for seed, name in enumerate(CONFIGS):
        write_family(name, seed, batches)


if __name__ == "__main__":
    main()
