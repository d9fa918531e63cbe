#!/usr/bin/env python3
"""Safetensors files as the safetensors library and huggingface_hub write them.

    python scripts/references/safetensors_files.py   # writes tests/fixtures/safetensors

mixed.safetensors has a tensor of every kind that the reader must take, sharded/ is a model
folder of three shards and an index. tests/io repeats the formulas of the values.
(A script named safetensors.py would hide the library of that name.)
"""

import shutil

from _common import FIXTURES, arguments

import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file

FOLDER = FIXTURES / "safetensors"


def ramp(count: int, dtype: torch.dtype) -> torch.Tensor:
    """-1, -0.5, 0, 0.5, ...: exact in every floating-point type."""
    return ((torch.arange(count) - 2) * 0.5).to(dtype)


def main() -> None:
    arguments(__doc__)
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "sharded").mkdir(parents=True)
    save_file(
        {
            "f32": ramp(6, torch.float32).reshape(2, 3),
            "f16": ramp(5, torch.float16),
            "bf16": ramp(4, torch.bfloat16),
            "f64": ramp(2, torch.float64),
            "i64": torch.tensor([-1, 0, 2**40]),
            "empty": torch.empty(0, 3),
            "scalar": torch.tensor(2.5),
            "имя \"x\" \\ \n": ramp(1, torch.float32),
        },
        FOLDER / "mixed.safetensors",
        metadata={"note": "написано"},  # one entry: the library's order of two is random
    )
    save_torch_state_dict(
        {f"layer.{i}.weight": ramp(10, torch.float32) + i for i in range(5)},
        FOLDER / "sharded",
        max_shard_size=80,
    )
    for path in FOLDER.rglob("*.safetensors"):
        path.chmod(0o644)  # the library makes them private


if __name__ == "__main__":
    main()
