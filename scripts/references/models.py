#!/usr/bin/env python3
"""Tiny Llama folders with random weights, and what `transformers` computes with them.

    python scripts/references/models.py        # writes tests/fixtures/models

llama2_tiny is shaped like Llama-2 (multi-head attention, untied head), llama32_tiny like
Llama-3.2 (grouped queries, its own head_dim, llama3 rope scaling, tied head). Both have the
config.json of the models on the Hub. llama_bias_tiny has every bias and linear rope scaling,
and its config.json is in the form that transformers 5 writes. llama2_tiny_sharded_bf16 and
llama2_tiny_f16 are llama2_tiny, rounded. Logits are float32 with eager attention, and are
checked against float64 before they are written.
"""

import json
import shutil

from _common import FIXTURES, arguments, rounded, write_json

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig

MODELS = FIXTURES / "models"
VOCAB = 320
LENGTHS = (1, 7, 33, 100)

# As found in folders on the Hub, whose files predate transformers 5.
CLASSIC = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 512,
    "model_type": "llama",
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.45.0",
    "use_cache": True,
    "vocab_size": VOCAB,
}

LLAMA2 = CLASSIC | {
    "hidden_size": 32,
    "intermediate_size": 88,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 4,
}

LLAMA32 = CLASSIC | {
    "head_dim": 16,
    "hidden_size": 32,
    "intermediate_size": 64,
    "mlp_bias": False,
    "num_attention_heads": 8,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rope_theta": 500000.0,
    "rope_scaling": {
        "factor": 8.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 64,
        "rope_type": "llama3",
    },
    "tie_word_embeddings": True,
}

LLAMA_BIAS = json.loads(LlamaConfig(
    architectures=["LlamaForCausalLM"],
    attention_bias=True,
    dtype="float32",
    hidden_size=16,
    intermediate_size=40,
    max_position_embeddings=256,
    mlp_bias=True,
    num_attention_heads=4,
    num_hidden_layers=2,
    num_key_value_heads=2,
    rms_norm_eps=1e-05,
    rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0},
    tie_word_embeddings=False,
    vocab_size=VOCAB,
).to_json_string())  # what save_pretrained writes


def random_weights(config, seed: int) -> dict[str, torch.Tensor]:
    """Weights large enough that the logits are far from uniform."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, like in AutoModelForCausalLM.from_config(config).state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        noise = torch.randn(like.shape, generator=generator)
        if name.endswith("norm.weight"):
            weights[name] = 1 + 0.2 * noise
        elif name.endswith("bias"):
            weights[name] = 0.1 * noise
        else:
            weights[name] = (0.4 if "layers" not in name else 0.18) * noise
    return weights


def write_config(folder, config: dict) -> None:
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def fresh(name: str):
    folder = MODELS / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def save(weights, path) -> None:
    save_file(weights, path, metadata={"format": "pt"})
    path.chmod(0o644)


def write_sharded(weights, folder, shards: int) -> None:
    """Names in order, cut into `shards` files, with the index the Hub expects."""
    names = sorted(weights)
    size = sum(t.numel() * t.element_size() for t in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": {}}
    for i in range(shards):
        part = names[i * len(names) // shards : (i + 1) * len(names) // shards]
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        save({n: weights[n] for n in part}, folder / file)
        index["weight_map"] |= {n: file for n in part}
    text = json.dumps(index, indent=2)
    (folder / "model.safetensors.index.json").write_text(text + "\n")


def load(folder):
    """The folder as `transformers` reads it, computed in float32."""
    model, loading = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    problems = {k: v for k, v in loading.items() if v}
    assert not problems, f"{folder.name}: {problems}"
    return model.eval()


@torch.no_grad()
def write_reference(folder, lengths=LENGTHS):
    model, generator = load(folder), torch.Generator().manual_seed(1)
    sequences = [torch.randint(3, VOCAB, (n,), generator=generator) for n in lengths]
    logits = [model(ids[None]).logits[0] for ids in sequences]
    model.double()
    rows = []
    for ids, got in zip(sequences, logits):
        exact = model(ids[None]).logits[0]
        error = ((got - exact).abs().max() / exact.abs().max()).item()
        assert error < 1e-5, f"{folder.name}: float32 is {error} from float64"
        targets = exact[:-1].log_softmax(-1).gather(1, ids[1:, None])
        positions = sorted({0, len(ids) // 2, len(ids) - 1})
        rows.append({
            "ids": ids.tolist(),
            "nll": rounded(targets.sum().abs()),
            "positions": positions,
            "logits": [rounded(got[p]) for p in positions],
        })
    write_json(folder / "reference.json", {"rows": rows})
    spread = torch.cat(logits).std().item()
    print(f"  {folder.name}: standard deviation of the logits {spread:.2f}")
    return model


def check_rope_regimes(model) -> None:
    """llama32_tiny must meet all three: kept, blended, and divided by the factor."""
    scaling = LLAMA32["rope_scaling"]
    exponents = torch.arange(0, LLAMA32["head_dim"], 2) / LLAMA32["head_dim"]
    ratio = LLAMA32["rope_theta"] ** -exponents / model.model.rotary_emb.inv_freq
    kept = (ratio < 1 + 1e-4).sum()
    divided = (ratio > scaling["factor"] - 1e-4).sum()
    assert kept > 0 and divided > 0 and kept + divided < len(ratio), ratio


def main() -> None:
    arguments(__doc__)
    torch.set_num_threads(1)
    configs = {"llama2_tiny": LLAMA2, "llama32_tiny": LLAMA32, "llama_bias_tiny": LLAMA_BIAS}
    for seed, (name, config) in enumerate(configs.items()):
        folder = fresh(name)
        write_config(folder, config)
        weights = random_weights(LlamaConfig.from_pretrained(folder), seed)
        save(weights, folder / "model.safetensors")
        model = write_reference(folder)
        if name == "llama32_tiny":
            check_rope_regimes(model)
        if name == "llama2_tiny":
            llama2 = weights

    folder = fresh("llama2_tiny_sharded_bf16")
    write_config(folder, LLAMA2 | {"torch_dtype": "bfloat16"})
    write_sharded({n: t.bfloat16() for n, t in llama2.items()}, folder, shards=3)
    write_reference(folder, lengths=(33,))

    folder = fresh("llama2_tiny_f16")
    write_config(folder, LLAMA2 | {"torch_dtype": "float16"})
    save({n: t.half() for n, t in llama2.items()}, folder / "model.safetensors")
    write_reference(folder, lengths=(33,))


if __name__ == "__main__":
    main()
