#!/usr/bin/env python3
"""Adam with averages of 8 bits: its codes on given gradients, and curves of real models.

    python scripts/references/adam8bit.py      # writes tests/fixtures/training/adam8bit*.json

The rule is that of bitsandbytes, in fp32 and in the order of lowmem/kernels/adam.h, with
codes that are the nearest ones. Only the maps come from the package: its compiled CPU
library looks codes up in a table of 65,536 steps and is not the nearest near 0. `guarded`
is what adam.h adds to the rule.

Gradients and weights of the first files are numbers of a hash, draw(), which the tests
write once more. Arrays are given as FNV-1a of their bytes. The curves need ../shared
and are left as they are where it is missing.
"""

from _common import FIXTURES, arguments, rounded, write_json
from _hashed import draw, fnv

import numpy as np
import torch
from bitsandbytes.functional import create_dynamic_map
from transformers import LlamaForCausalLM

from training import IGNORE, batch_loss

TRAINING = FIXTURES / "training"
BLOCK = 256
SMALLEST = 4096  # smaller tensors keep fp32 averages
F32, F64 = np.float32, np.float64
SIGNED = create_dynamic_map(signed=True).numpy()
UNSIGNED = create_dynamic_map(signed=False).numpy()
OPTIONS = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
CURVE_STEPS, CURVE_ROWS, CURVE_VOCAB = 40, 4, 512


def middles(levels):
    return (levels[:-1].astype(F64) + levels[1:].astype(F64)) / 2  # exact


def nearest(x, levels):
    """The place of the nearest of rising levels from 0; half-way, of the lower one."""
    return np.searchsorted(middles(levels), x.astype(F64), side="left")


def padded(x):
    return np.pad(x, (0, -len(x) % BLOCK)).reshape(-1, BLOCK)


def quantize(x, signed):
    blocks = padded(x)
    absmax = np.abs(blocks).max(1)
    with np.errstate(invalid="ignore"):
        part = np.where(absmax[:, None] > 0, blocks / absmax[:, None], F32(0))
    if signed:
        zero = 127
        level = nearest(np.abs(part), SIGNED[zero:])
        codes = np.where(part < 0, zero - np.minimum(level, zero), zero + level)
    else:
        codes = nearest(part, UNSIGNED)
    return codes.astype(np.uint8).reshape(-1)[:len(x)], absmax


def dequantize(codes, absmax, signed):
    values = (SIGNED if signed else UNSIGNED)[codes]
    return values * np.repeat(absmax, BLOCK)[:len(codes)]


def check_nearest():
    x = np.concatenate([np.random.default_rng(1).uniform(-1, 1, 4000),
                        10.0 ** np.random.default_rng(2).uniform(-8, 0, 4000), [1, -1, 0]])
    x = x.astype(F32)
    x[0] = 1  # the largest
    for signed, levels in ((True, SIGNED), (False, UNSIGNED)):
        own = x if signed else np.abs(x)
        codes, absmax = quantize(own, signed)
        part = padded(own) / absmax[:, None]
        errors = np.abs(part.reshape(-1)[:len(x), None].astype(F64) - levels.astype(F64))
        assert (errors.argmin(1) == codes).all()
    assert (SIGNED[1:127] == -SIGNED[253:127:-1]).all() and SIGNED[0] == -SIGNED[254]


class Adam:
    """The averages of one parameter. kind: fp32, plain (bitsandbytes' rule) or guarded."""

    def __init__(self, count, kind, decay=0.0, coupled=0.0):
        self.kind, self.decay, self.coupled, self.step = kind, decay, coupled, 0
        self.m, self.v = np.zeros(count, F32), np.zeros(count, F32)
        self.codes, self.guarded = None, 0

    def update(self, p, g):
        o = OPTIONS
        self.step += 1
        t, b1, b2 = self.step, o["beta1"], o["beta2"]
        if self.coupled:
            g = g + F32(self.coupled) * p
        old = self.v
        m = self.m + F32(1 - b1) * (g - self.m)
        v = F32(b2) * old + F32(1 - b2) * g * g
        if self.kind == "guarded":
            q = b1 * b1 / b2
            ratio = (1 - b1) ** 2 / (1 - b2) * (1 - q ** t) / (1 - q)
            lost = (old == 0) & (m * m > F32(ratio) * v)
            if self.codes:
                most = F32(middles(UNSIGNED)[0]) * np.repeat(self.codes[3], BLOCK)[:len(p)]
                v = np.where(lost, v + F32(b2) * most, v)
                self.guarded += int(lost.sum())
        denominator = np.sqrt(v) / F32(np.sqrt(1 - b2 ** t)) + F32(o["eps"])
        step_size = F32(o["lr"] / (1 - b1 ** t))
        p = p * F32(1 - o["lr"] * self.decay) - step_size * (m / denominator)
        if self.kind == "fp32":
            self.m, self.v = m, v
        else:
            self.codes = (*quantize(m, True), *quantize(v, False))
            self.m = dequantize(*self.codes[:2], True)
            self.v = dequantize(*self.codes[2:], False)
        return p


def given_gradient(count, step):
    g = draw(count, step)
    g[512:768] = 0                       # a block that never has a gradient
    g[768:1024] *= F32(step < 5)         # one that has none any more
    return g


def hazard_gradient(count, step):
    """A sixteenth of the elements 2^13 times larger; the others' gradients end."""
    g = draw(count, step)
    large = np.arange(count) % 16 == 0
    g[large] *= F32(2 ** 13)
    if step > 10:
        g[~large] = 0
    return g


def run(count, steps, gradient, kind, **decays):
    p = draw(count, 0)
    rule = Adam(count, kind, **decays)
    rows, single = [], 0.0
    for step in range(1, steps + 1):
        before = p
        p = rule.update(p, gradient(count, step))
        single = max(single, float(np.abs(p - before).max()))
        row = {"weights": fnv(p)}
        if kind != "fp32":
            names = ("mean_codes", "mean_scales", "square_codes", "square_scales")
            row |= {n: fnv(x) for n, x in zip(names, rule.codes)}
        rows.append(row)
    moved = np.abs(p - draw(count, 0)) / F32(OPTIONS["lr"])
    summary = {"moved_over_20_lr": int((moved > 20).sum()),
               "most_moved_lr": rounded(float(moved.max()), 4),
               "largest_step_lr": rounded(single / OPTIONS["lr"], 4),
               "guarded": rule.guarded}
    return p, rule, rows, summary


def write_updates():
    count, steps = 4400, 30              # 17 blocks and a short one
    cases = {"adam": {}, "adam_coupled": {"coupled": 0.1}, "adamw": {"decay": 0.1}}
    result = {"count": count, "steps": steps, "options": OPTIONS, "cases": {}}
    for name, decays in cases.items():
        for kind in ("plain", "guarded"):
            p, rule, rows, summary = run(count, steps, given_gradient, kind, **decays)
            result["cases"][f"{name}_{kind}"] = {
                "coupled": decays.get("coupled", 0.0), "decoupled": decays.get("decay", 0.0),
                "guard": kind == "guarded", "steps": rows,
                "weights": rounded(p[::11]), "mean_codes": rule.codes[0][::11].tolist(),
                "mean_scales": rounded(rule.codes[1]),
                "square_codes": rule.codes[2][::11].tolist(),
                "square_scales": rounded(rule.codes[3]), **summary}
            print(f"  {name} {kind}: {summary}")
    write_json(TRAINING / "adam8bit.json", result)


def write_hazard():
    count = 4096
    result = {"count": count, "options": OPTIONS, "cases": {}}
    for steps in (30, 100):
        for kind in ("fp32", "plain", "guarded"):
            _, _, rows, summary = run(count, steps, hazard_gradient, kind)
            result["cases"][f"{kind}_{steps}"] = {
                "steps": steps, "last": rows[-1], **summary}
            print(f"  hazard, {steps} steps, {kind}: {summary}")
    write_json(TRAINING / "adam8bit_hazard.json", result)


def curve_batches() -> list:
    """In the form of batches.json, with few successors a token; every token is labelled."""
    generator = torch.Generator().manual_seed(17)

    def below(bound, size=()):
        return torch.randint(3, bound, size, generator=generator)

    successors = below(CURVE_VOCAB, (CURVE_VOCAB, 2))
    batches = []
    for _ in range(CURVE_STEPS):
        rows = []
        for _ in range(CURVE_ROWS):
            ids = [1, below(CURVE_VOCAB).item()]
            while len(ids) < 20:
                ids.append(successors[ids[-1], below(5).item() - 3].item())
            rows.append({"ids": ids, "labels": ids[1:] + [IGNORE]})
        batches.append(rows)
    return batches


def curve(folder, batches, kind, decay):
    model = LlamaForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager").train()
    named = dict(model.named_parameters())
    rules = {n: Adam(p.numel(), kind if p.numel() >= SMALLEST else "fp32", decay)
             for n, p in named.items()}
    losses = []
    for rows in batches:
        model.zero_grad(set_to_none=True)
        losses.append(batch_loss(model, rows, backward=True))
        with torch.no_grad():
            for n, p in named.items():
                flat = p.view(-1).numpy()
                flat[:] = rules[n].update(flat.copy(), p.grad.reshape(-1).numpy())
    guarded = sum(rule.guarded for rule in rules.values())
    return losses, {n: p.detach().view(-1).numpy() for n, p in named.items()}, guarded


def write_curve(folder, batches, decay=0.1):
    runs = {kind: curve(folder, batches, kind, decay) for kind in ("guarded", "plain", "fp32")}
    losses, weights, guarded = runs["guarded"]

    def apart(kind):
        pairs = [(weights[n], runs[kind][1][n]) for n in weights]
        total = sum(float(np.abs(a.astype(F64) - b).sum()) for a, b in pairs)
        return (max(abs(a - b) / b for a, b in zip(losses, runs[kind][0])),
                total / sum(a.size for a, _ in pairs) / OPTIONS["lr"])

    every = 1 + sum(w.size for w in weights.values()) // 1800
    write_json(TRAINING / f"adam8bit_{folder.name}.json", {
        "model": folder.name, "batches": "adam8bit_batches.json", "train": "all",
        "dtype": "fp32", "smallest": SMALLEST,
        "optimizer": {"name": "adamw", "state_dtype": "int8"} | OPTIONS
        | {"weight_decay": decay},
        "guarded": guarded, "loss": rounded(losses), "loss_plain": rounded(runs["plain"][0]),
        "loss_fp32": rounded(runs["fp32"][0]),
        "apart": {kind: dict(zip(("loss", "weights_lr"), rounded(apart(kind), 3)))
                  for kind in ("plain", "fp32")},
        "every": every,
        "parameters": {n: {"sum": rounded(w.astype(F64).sum()),
                           "norm": rounded(np.linalg.norm(w.astype(F64))),
                           "sampled": rounded(w[::every])} for n, w in weights.items()},
    })
    print(f"  {folder.name}: loss {losses[0]:.4f} to {losses[-1]:.4f}, {guarded} guarded; "
          f"apart (loss, mean weight in lr) plain {apart('plain')}, fp32 {apart('fp32')}")


def main() -> None:
    args = arguments(__doc__)
    torch.set_num_threads(1)
    check_nearest()
    write_json(TRAINING / "adam8bit_maps.json",
               {"signed": rounded(SIGNED), "unsigned": rounded(UNSIGNED)})
    write_updates()
    write_hazard()
    batches = curve_batches()
    write_json(TRAINING / "adam8bit_batches.json", batches)
    for name in ("stories260k", "tinystories-656k"):
        folder = args.shared / "models" / name
        if folder.exists():
            write_curve(folder, batches)
        else:
            print(f"  {folder} is missing: its curve stays as it is")


if __name__ == "__main__":
    main()
