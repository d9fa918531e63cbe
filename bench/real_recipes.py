"""The recipes of bench/real_table.sh, and the learning rates that it tries.

Every recipe trains the layers on batches of 8 rows for an epoch, and evaluates before and after.
What differs is what `settings` says; the learning rate is its optimizer's.
"""
from typing import NamedTuple

COMMON = {
    "data.max_length": "160", "train.epochs": "1", "train.batch_size": "8",
    "train.log_every": "5", "eval.every": "never",
    "model.train": "layers",
}
# As configs/baseline.yaml and configs/lowmem.yaml have them.
FP32 = {
    "model.dtype": "fp32", "model.compute_dtype": "bf16", "memory.activations": "recompute",
    "memory.gradients": "accumulate", "memory.linear_cross_entropy": "false",
}
LOW = {
    "model.dtype": "bf16", "model.compute_dtype": "bf16", "memory.activations": "recompute",
    "memory.gradients": "update", "memory.linear_cross_entropy": "true",
}
ADAFACTOR = {"optimizer.name": "adafactor"}
STOCHASTIC = {"optimizer.rounding": "stochastic"}
LORA = {
    "adapter.kind": "lora", "adapter.targets": "all-linear", "adapter.rank": "16",
    "adapter.alpha": "32", "optimizer.name": "adamw",
}
# Between what low memory needs on this model and what keeping all activations does: 380 and
# 531 MiB, as planned, the program itself counted.
BUDGET = "450MiB"


class Recipe(NamedTuple):
    name: str
    words: str      # as the tables call it
    optimizer: str  # whose learning rate it takes
    kind: str       # the figure's colour
    settings: dict


RECIPES = (
    Recipe("fp32_adam", "FP32 Adam", "adam", "fp32", {**FP32, "optimizer.name": "adam"}),
    Recipe("fp32_adafactor", "FP32 Adafactor", "adafactor", "fp32", {**FP32, **ADAFACTOR}),
    Recipe("lowmem", "low memory", "adafactor", "bf16", {**LOW, **ADAFACTOR, **STOCHASTIC}),
    Recipe("nearest", "bf16, nearest", "adafactor", "bf16",
           {**LOW, **ADAFACTOR, "optimizer.rounding": "nearest"}),
    Recipe("kahan", "bf16, Kahan", "adafactor", "bf16",
           {**LOW, **ADAFACTOR, "optimizer.rounding": "kahan"}),
    Recipe("adamw8", "8-bit AdamW", "adamw8", "bf16",
           {**LOW, **STOCHASTIC, "optimizer.name": "adamw", "optimizer.state_dtype": "int8"}),
    Recipe("keep15", "low memory, 15 of 30 blocks keep", "adafactor", "bf16",
           {**LOW, **ADAFACTOR, **STOCHASTIC, "memory.activations": "15"}),
    Recipe("budget", f"low memory, budget {BUDGET}", "adafactor", "bf16",
           {**LOW, **ADAFACTOR, **STOCHASTIC, "memory.budget": BUDGET}),
    Recipe("disk", "low memory, weights on disk", "adafactor", "bf16",
           {**LOW, **ADAFACTOR, **STOCHASTIC, "memory.weights": "disk", "memory.ahead": "1"}),
    Recipe("lora", "LoRA, rank 16", "adamw_lora", "adapter", {**LOW, **LORA}),
    Recipe("qlora", "QLoRA, nf4", "adamw_lora", "adapter",
           {**LOW, **LORA, "model.quantize": "nf4", "model.double_quantization": "true"}),
)
BY_NAME = {recipe.name: recipe for recipe in RECIPES}

# Of these places and times alone differ, and no bit of the result.
SAME_BITS = ("lowmem", "keep15", "budget", "disk")

# For each optimizer: the recipe that tries its rates, and the rates. Adafactor's are tried
# with fp32 weights, so that low memory has no rate of its own choosing.
TRIED = {
    "adam": ("fp32_adam", ("3e-6", "1e-5", "3e-5", "1e-4")),
    "adafactor": ("fp32_adafactor", ("3e-5", "1e-4", "3e-4", "1e-3")),
    "adamw8": ("adamw8", ("3e-6", "1e-5", "3e-5", "1e-4")),
    "adamw_lora": ("lora", ("1e-4", "3e-4", "1e-3")),
}


def yaml(settings: dict) -> str:
    """`settings`, by section.key, as a configuration: a line a section."""
    sections = {}
    for key, value in settings.items():
        section, name = key.split(".")
        sections.setdefault(section, []).append(f"{name}: {value}")
    return "".join(f"{section}: {{ {', '.join(lines)} }}\n"
                   for section, lines in sections.items())
