#!/usr/bin/env python3
"""Twenty training steps of the tiny models in PyTorch, and each optimizer on its own.

    python scripts/references/models.py        # first: the models
    python scripts/references/training.py      # writes tests/fixtures/training

Every sequence runs alone, unpadded, and its gradient is added: the loss is the negative
log-likelihood summed over the batch's labelled tokens, divided by their number. A curve is
checked against the same run in float64 before it is written.
"""

from _common import FIXTURES, arguments, rounded, write_json

import torch
from torch.nn.functional import cross_entropy
from transformers import (AutoModelForCausalLM, get_cosine_schedule_with_warmup,
                          get_linear_schedule_with_warmup)

TRAINING = FIXTURES / "training"
VOCAB = 320
STEPS = 20
BATCH = 8
IGNORE = -100
MODELS = ("llama2_tiny", "llama32_tiny")

OPTIMIZERS = {
    "adam": {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    "adamw": {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.1},
    "sgd": {"lr": 0.1, "momentum": 0.9},
    "adafactor": {"lr": 1e-2, "beta2": 0.99, "eps": 1e-30},
}


class Adafactor(torch.optim.Optimizer):
    """The rule of github.com/usamec/lowmem_finetuning, its state in the parameter's dtype."""

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * self.direction(p, group["beta2"], group["eps"]))

    def direction(self, p, beta2, eps):
        g, state = p.grad, self.state[p]
        square = g * g
        if g.dim() < 2:
            v = state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * square
            denom = v.sqrt() + eps
        else:
            rows = state["rows"] = beta2 * state.get("rows", 0) + (1 - beta2) * square.mean(1)
            cols = state["cols"] = beta2 * state.get("cols", 0) + (1 - beta2) * square.mean(0)
            denom = (rows[:, None] * cols[None] / rows.mean()).sqrt() + eps
        update = g / denom
        return update * (p.norm() / (update.norm() + 1e-20))


def make_optimizer(name: str, parameters):
    options = dict(OPTIMIZERS[name])
    if name == "adafactor":
        return Adafactor(parameters, options)
    if "beta1" in options:
        options["betas"] = (options.pop("beta1"), options.pop("beta2"))
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[name]
    return kind(parameters, foreach=False, **options)


def make_batches() -> list:
    """Sequences that can be learnt (a few successors a token), as varied as real ones:
    labelled from some point on, or here and there, and one with no label at all."""
    generator = torch.Generator().manual_seed(7)

    def draw(low, high, size=()):
        return torch.randint(low, high, size, generator=generator)

    successors = draw(3, VOCAB, (VOCAB, 2))
    batches = []
    for step in range(STEPS):
        rows = []
        for i in range(BATCH):
            length = draw(5, 41).item()
            ids = [1, draw(3, VOCAB).item()]
            while len(ids) < length:
                ids.append(successors[ids[-1], draw(0, 2)].item())
            shifted = ids[1:] + [IGNORE]
            if i == BATCH - 1:
                scored = draw(0, 2, (length,)).bool().tolist()
            else:
                start = draw(0, length - 1).item()
                scored = [p >= start for p in range(length)]
            if (step, i) == (2, 3):
                scored = [False] * length
            labels = [t if s else IGNORE for t, s in zip(shifted, scored)]
            rows.append({"ids": ids, "labels": labels})
        batches.append(rows)
    return batches


def load(name: str, dtype=torch.float32):
    model = AutoModelForCausalLM.from_pretrained(
        FIXTURES / "models" / name, dtype=torch.float32, attn_implementation="eager")
    return model.to(dtype).train()


def batch_loss(model, rows, backward: bool, autocast: bool = False) -> float:
    """The token mean over the whole batch; its gradient is added to .grad when asked."""
    count = sum(label != IGNORE for row in rows for label in row["labels"])
    total = 0.0
    for row in rows:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            logits = model(torch.tensor([row["ids"]]), use_cache=False).logits[0]
        at_least_float = logits if logits.dtype == torch.float64 else logits.float()
        nll = cross_entropy(at_least_float, torch.tensor(row["labels"]),
                            ignore_index=IGNORE, reduction="sum")
        if backward:
            (nll / count).backward()
        total += nll.double().item()
    return total / count


def make_scheduler(name, optimizer):
    make = {"linear": get_linear_schedule_with_warmup, "cosine": get_cosine_schedule_with_warmup}
    return make[name](optimizer, num_warmup_steps=5, num_training_steps=STEPS)


def train(model, batches, trained, optimizer, schedule=None, clip_norm=0.0, autocast=False):
    """What one run records. Steps are counted from 0; the loss is the one before the update."""
    model.requires_grad_(False)
    named = {n: p for n, p in model.named_parameters()
             if trained == "all" or n.startswith("model.layers.")}
    for p in named.values():
        p.requires_grad_(True)
    rule = make_optimizer(optimizer, list(named.values()))
    scheduler = make_scheduler(schedule, rule) if schedule else None
    curve = {"loss": [], "lr": [], "grad_norm": []}
    for rows in batches:
        rule.zero_grad()
        curve["loss"].append(batch_loss(model, rows, backward=True, autocast=autocast))
        curve["lr"].append(rule.param_groups[0]["lr"])
        limit = clip_norm or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(named.values(), limit, foreach=False)
        curve["grad_norm"].append(norm.item())
        rule.step()
        if scheduler:
            scheduler.step()
    return curve


SAMPLED = ("model.embed_tokens.weight", "model.layers.0.input_layernorm.weight",
           "model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.down_proj.weight",
           "model.norm.weight", "lm_head.weight")


def summaries(model) -> dict:
    """Sum and Euclidean norm of a few parameters, trained and frozen."""
    tensors = model.state_dict()
    if model.config.tie_word_embeddings:
        tensors.pop("lm_head.weight")
    tensors = {n: tensors[n].double() for n in SAMPLED if n in tensors}
    return {n: {"sum": rounded(t.sum()), "norm": rounded(t.norm())} for n, t in tensors.items()}


def difference(a, b) -> float:
    return max(abs(x - y) / abs(y) for x, y in zip(a, b))


def write_curve(name, model_name, batches, trained, optimizer, schedule=None, clip_norm=0.0,
                autocast=False) -> None:
    run = dict(trained=trained, optimizer=optimizer, schedule=schedule, clip_norm=clip_norm)
    model = load(model_name)
    curve = train(model, batches, autocast=autocast, **run)
    exact = train(load(model_name, torch.float64), batches, **run)
    error = difference(curve["loss"], exact["loss"])
    assert error < (2e-2 if autocast else 1e-5), f"{name}: {error} from float64"
    norms = difference(curve["grad_norm"], exact["grad_norm"])
    assert autocast or norms < 2e-4, f"{name}: norms are {norms} from float64"
    print(f"  {name}: loss {curve['loss'][0]:.4f} to {curve['loss'][-1]:.4f}, "
          f"{error:.1e} from float64")
    write_json(TRAINING / f"{name}.json", {
        "model": model_name,
        "batches": "batches.json",
        "train": trained,
        "dtype": "fp32",
        "compute_dtype": "bf16" if autocast else "fp32",
        "optimizer": {"name": optimizer} | OPTIMIZERS[optimizer],
        "schedule": {"name": schedule or "constant", "warmup_steps": 5 if schedule else 0,
                     "total_steps": STEPS},
        "clip_norm": clip_norm,
        **{k: rounded(v) for k, v in curve.items()},
        "parameters": summaries(model),
    })


def write_bf16_losses(batches) -> None:
    """Forward alone, weights and arithmetic in bf16."""
    with torch.no_grad():
        rows = [{"model": name,
                 "loss": rounded([batch_loss(load(name, torch.bfloat16), b, backward=False)
                                  for b in batches[:5]])} for name in MODELS]
    write_json(TRAINING / "bf16_forward.json", rows)


def write_optimizers() -> None:
    """Each rule on one matrix and one vector, with the gradients written out."""
    generator = torch.Generator().manual_seed(11)

    def draw(*shape):  # few bits, so that the decimal text is exact in float32 and float64
        return (256 * torch.randn(shape, generator=generator)).round() / 256

    start = {"matrix": draw(5, 7), "vector": draw(7)}
    grads = {name: [draw(*p.shape) * 4.0 ** -(i % 4) for i in range(10)]
             for name, p in start.items()}
    for g in grads["matrix"][:3]:
        g[2] = 0  # like the row of a token that has not been seen yet
    rules = {}
    for optimizer in OPTIMIZERS:
        rules[optimizer] = {"options": OPTIMIZERS[optimizer]}
        for dtype, digits in ((torch.float64, 12), (torch.float32, 9)):
            params = {n: torch.nn.Parameter(p.to(dtype, copy=True)) for n, p in start.items()}
            rule = make_optimizer(optimizer, list(params.values()))
            steps = {n: [] for n in params}
            for i in range(10):
                for n, p in params.items():
                    p.grad = grads[n][i].to(dtype, copy=True)
                rule.step()
                for n, p in params.items():
                    steps[n].append(rounded(p.detach(), digits))
            rules[optimizer][str(dtype).removeprefix("torch.")] = steps
    write_json(TRAINING / "optimizers.json", {
        "start": {n: p.tolist() for n, p in start.items()},
        "gradients": {n: [g.tolist() for g in gs] for n, gs in grads.items()},
        "optimizers": rules,
    })


def main() -> None:
    arguments(__doc__)
    torch.set_num_threads(1)
    for old in TRAINING.glob("*.json"):
        if not old.name.startswith(("adam8bit", "family_", "longlora")):  # other scripts'
            old.unlink()
    batches = make_batches()
    write_json(TRAINING / "batches.json", batches)
    for model in MODELS:
        for trained in ("layers", "all"):
            for optimizer in OPTIMIZERS:
                write_curve(f"{model}_{trained}_{optimizer}", model, batches, trained, optimizer)
    model = "llama32_tiny"
    write_curve("clip_norm", model, batches, "all", "sgd", clip_norm=0.5)
    write_curve("schedule_linear", model, batches, "all", "adam", schedule="linear")
    write_curve("schedule_cosine", model, batches, "all", "adam", schedule="cosine")
    write_curve("mixed_precision", model, batches, "all", "adam", autocast=True)
    write_bf16_losses(batches)
    write_optimizers()


if __name__ == "__main__":
    main()
