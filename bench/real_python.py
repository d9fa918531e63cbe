#!/usr/bin/env python3
"""The low-memory recipe in transformers, as what bench/real_python.sh compares with.

    python bench/real_python.py MODEL ROWS [--steps 200] [--batch-size 8] [--lr 1e-4]
                                [--pad longest|160] [--seed 1]

Layers trained in bf16 with HellaSwag rows in their order. Blocks are computed again in the
backward pass; each gradient is used and freed the moment it exists, by Adafactor in fp32 with
stochastic rounding; only labelled tokens reach the head. Prints a line of JSON a step: mean
loss over labelled tokens, seconds, tokens, the resident size so far. Needs torch, transformers
and tokenizers.
"""
import argparse
import json
import resource
import time

import torch
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

MAX_LENGTH = 160


def round_into(weight: torch.Tensor, exact: torch.Tensor) -> None:
    """Writes fp32 `exact` into bf16 `weight`: up or down, right on average. `exact` is lost."""
    bits = exact.view(torch.int32)
    bits += torch.randint(0, 1 << 16, bits.shape, dtype=torch.int32)
    bits &= -(1 << 16)
    weight.copy_(exact)


class Adafactor:
    """A hook that updates one weight at a time. Of a matrix it keeps rows and columns, in fp32."""

    def __init__(self, lr: float, beta2: float = 0.99, eps: float = 1e-30):
        self.lr, self.beta2, self.eps = lr, beta2, eps
        self.states = {}

    def averaged(self, key, value: torch.Tensor) -> torch.Tensor:
        if key not in self.states:
            self.states[key] = torch.zeros_like(value)
        return self.states[key].lerp_(value, 1 - self.beta2)

    @torch.no_grad()
    def __call__(self, weight: torch.nn.Parameter) -> None:
        step = weight.grad.float()
        weight.grad = None
        square = step * step
        if step.dim() == 2:
            rows = self.averaged((weight, "rows"), square.mean(1))
            columns = self.averaged((weight, "columns"), square.mean(0))
            root = torch.outer(rows / rows.mean(), columns, out=square).sqrt_()
        else:
            root = self.averaged((weight, "all"), square).sqrt()
        step /= root.add_(self.eps)
        exact = weight.data.float()
        step *= self.lr * exact.norm() / (step.norm() + 1e-20)
        round_into(weight.data, exact.sub_(step))


class Rows:
    """HellaSwag rows as lowmem-train makes them: context, a blank, right ending, end of text."""

    def __init__(self, model_path: str, file: str, count: int, end: int):
        self.tokenizer = Tokenizer.from_file(f"{model_path}/tokenizer.json")
        self.start = self.tokenizer.encode("").ids  # BOS, where this tokenizer adds one
        self.end = end
        with open(file, encoding="utf-8") as lines:
            self.rows = [self.tokens(json.loads(line)) for _, line in zip(range(count), lines)]

    def ids(self, text: str) -> list:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def tokens(self, row: dict) -> tuple:
        """Ids, and the place of the first that is learned."""
        text = row["ctx"] + " " + row["endings"][int(row["label"])]
        ids = self.start + self.ids(text) + [self.end]
        return ids[:MAX_LENGTH], len(self.start) + len(self.ids(row["ctx"]))

    def batch(self, first: int, size: int, pad: str) -> tuple:
        """Ids and mask, both [size, width], and which ids are learned."""
        rows = self.rows[first:first + size]
        width = MAX_LENGTH if pad == str(MAX_LENGTH) else max(len(ids) for ids, _ in rows)
        ids = torch.full((size, width), self.end)
        mask = torch.zeros((size, width), dtype=torch.long)
        learned = torch.zeros((size, width), dtype=torch.bool)
        for i, (row, begin) in enumerate(rows):
            ids[i, :len(row)] = torch.tensor(row)
            mask[i, :len(row)] = 1
            learned[i, begin:len(row)] = True
        return ids, mask, learned


def prepared(path: str, hook):
    """The model in bf16, of which the layers are trained by `hook`."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16)
    model.requires_grad_(False)
    for weight in model.model.layers.parameters():
        weight.requires_grad_(True)
        weight.register_post_accumulate_grad_hook(hook)
    model.config.use_cache = False
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model.train()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("rows")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--pad", choices=("longest", str(MAX_LENGTH)), default="longest")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    model = prepared(args.model, Adafactor(args.lr))
    end = model.config.eos_token_id
    rows = Rows(args.model, args.rows, args.steps * args.batch_size, end)
    if len(rows.rows) < args.steps * args.batch_size:
        parser.error(f"{args.rows} has {len(rows.rows)} rows, too few for {args.steps} steps of "
                     f"{args.batch_size}: give fewer --steps")
    for step in range(args.steps):
        ids, mask, learned = rows.batch(step * args.batch_size, args.batch_size, args.pad)
        start = time.perf_counter()
        hidden = model.model(input_ids=ids, attention_mask=mask).last_hidden_state
        # A position predicts the token after it.
        logits = model.lm_head(hidden[:, :-1][learned[:, 1:]]).float()
        loss = cross_entropy(logits, ids[:, 1:][learned[:, 1:]])
        loss.backward()
        seconds = time.perf_counter() - start
        print(json.dumps({
            "step": step + 1, "loss": loss.item(), "step_seconds": seconds,
            "tokens": int(mask.sum()), "labelled_tokens": int(learned[:, 1:].sum()),
            "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}), flush=True)


if __name__ == "__main__":
    main()
