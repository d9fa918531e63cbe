#!/usr/bin/env python3
"""Twenty training steps in which tokens see their own group alone, as LongLoRA has it.

    python scripts/references/training.py      # first: the batches
    python scripts/references/longlora.py      # writes tests/fixtures/training/longlora.json

S2-Attn of Chen et al. 2024 in the variant without wrap-around, as a mask for each head: the
first half of the heads sees groups of `group` tokens, the second half groups that begin half a
group later. `transformers` adds the mask to its scores. Checked against float64.
"""

from _common import arguments, rounded, write_json

import torch

import training

GROUP = 8
CURVES = [("llama32_tiny", "all", "adamw"), ("llama32_tiny", "all", "sgd"),
          ("llama2_tiny", "layers", "sgd")]


def mask(length, heads, dtype):
    place = torch.arange(length)
    masks = []
    for head in range(heads):
        group = (place + (GROUP // 2 if head >= heads // 2 else 0)) // GROUP
        seen = (group[:, None] == group[None]) & (place[None] <= place[:, None])
        masks.append(torch.zeros(length, length, dtype=dtype).masked_fill(
            ~seen, torch.finfo(dtype).min))
    return torch.stack(masks)[None]


def load(name, dtype=torch.float32):
    model = training.load(name, dtype)
    forward = model.forward

    def grouped(ids, **options):
        seen = mask(ids.shape[1], model.config.num_attention_heads, dtype)
        return forward(ids, attention_mask=seen, **options)

    model.forward = grouped
    return model


def main():
    arguments(__doc__)
    torch.set_num_threads(1)
    batches = training.make_batches()
    curves = []
    for name, trained, optimizer in CURVES:
        model = load(name)
        curve = training.train(model, batches, trained, optimizer)
        exact = training.train(load(name, torch.float64), batches, trained, optimizer)
        full = training.train(training.load(name), batches, trained, optimizer)
        error = training.difference(curve["loss"], exact["loss"])
        apart = training.difference(curve["loss"], full["loss"])
        assert error < 1e-5 and apart > 1e-3, (name, error, apart)
        print(f"  {name}, {optimizer}: {error:.1e} from float64, {apart:.1e} from full attention")
        curves.append({
            "model": name, "group": GROUP, "train": trained,
            "optimizer": {"name": optimizer} | training.OPTIMIZERS[optimizer],
            **{key: rounded(values) for key, values in curve.items()},
            "parameters": training.summaries(model),
        })
    write_json(training.TRAINING / "longlora.json", curves)


if __name__ == "__main__":
    main()
