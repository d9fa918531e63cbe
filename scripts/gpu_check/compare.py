#!/usr/bin/env python3
"""Times what a Python user runs today, on the rows and the model shape of scripts/gpu_check.sh.

    python3 compare.py recipe --config CONFIG.json --rows ROWS.jsonl --tokenizer DIR
    python3 compare.py plain ...

recipe  The low-memory recipe of usamec/lowmem_finetuning: bf16 weights, gradient
        checkpointing, Adafactor with stochastic rounding run in hooks as each gradient
        arrives, `model.layers` trained, rows padded to --length.
plain   A usual transformers loop: fp32 weights, bf16 autocast, gradient checkpointing,
        AdamW over all weights, rows padded to the longest of their batch.

Weights are random. Prints one line of JSON: times of the steps after --warmup, tokens
without padding, peak of the caching allocator, bytes used on the device.
"""

import argparse
import itertools
import json
import pathlib
import time

import torch
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

IGNORE = -100


def read_examples(rows, tokenizer, bos, eos, length):
    """(ids, first): a row's ids, cut at `length`, and how many of them are context."""
    for line in rows.read_text().splitlines():
        row = json.loads(line)
        ids = tokenizer.encode(row["ctx"], add_special_tokens=False).ids
        first = 1 + len(ids)
        text = row["ctx"] + " " + row["endings"][int(row["label"])]
        ids = [bos] + tokenizer.encode(text, add_special_tokens=False).ids + [eos]
        if first < min(len(ids), length):
            yield ids[:length], first


def collate(examples, width, pad, device):
    """ids, attention mask and labels [B, width]; labels are those of the same position."""
    ids = torch.full((len(examples), width), pad)
    attention = torch.zeros_like(ids)
    labels = torch.full_like(ids, IGNORE)
    for i, (row, first) in enumerate(examples):
        ids[i, : len(row)] = torch.tensor(row)
        attention[i, : len(row)] = 1
        labels[i, first : len(row)] = ids[i, first : len(row)]
    return ids.to(device), attention.to(device), labels.to(device)


def add_rounded_stochastically_(weight, change):
    """weight += change in bf16; which neighbour of the sum is taken is left to chance."""
    nearest = weight + change
    lost = change - (nearest - weight)
    beyond = torch.full_like(nearest, torch.inf).copysign_(lost)
    other = torch.nextafter(nearest, beyond)
    chance = lost.abs() / (other - nearest).abs()
    weight.copy_(torch.where(torch.rand_like(chance) < chance, other, nearest))


class Adafactor:
    """One weight's update, called by autograd with the weight once its gradient is there."""

    def __init__(self, lr, decay=0.99, eps=1e-30):
        self.lr, self.decay, self.eps = lr, decay, eps
        self.state = {}

    def mean_square(self, weight, grad):
        square = grad * grad
        fresh = [square] if grad.dim() < 2 else [square.mean(1), square.mean(0)]
        means = self.state.setdefault(weight, [torch.zeros_like(mean) for mean in fresh])
        for mean, new in zip(means, fresh):
            mean.lerp_(new, 1 - self.decay)
        if grad.dim() < 2:
            return means[0]
        rows, columns = means
        return torch.outer(rows, columns) / rows.mean()

    @torch.no_grad()
    def __call__(self, weight):
        change = weight.grad / (self.mean_square(weight, weight.grad).sqrt() + self.eps)
        change *= weight.norm() / (change.norm() + 1e-20)
        add_rounded_stochastically_(weight, change.mul_(-self.lr))
        weight.grad = None


def make_model(config, dtype, device):
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model.train()
    model.config.use_cache = False
    model.gradient_checkpointing_enable(
        gradient_checkpointing_kwargs={"use_reentrant": False}
    )
    return model


class Recipe:
    def __init__(self, config, length, device):
        self.model = make_model(config, torch.bfloat16, device).requires_grad_(False)
        self.length, self.device = length, device
        update = Adafactor(lr=1e-4)
        for weight in self.model.model.layers.parameters():
            weight.requires_grad_(True).register_post_accumulate_grad_hook(update)

    def step(self, examples):
        ids, attention, labels = collate(examples, self.length, 0, self.device)
        hidden = self.model.model(input_ids=ids, attention_mask=attention)[0]
        logits = self.model.lm_head(hidden)[:, :-1].float()
        losses = cross_entropy(
            logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="none"
        )
        losses.mean().backward()


class Plain:
    def __init__(self, config, length, device):
        self.model = make_model(config, torch.float32, device)
        self.device = device
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-6)

    def step(self, examples):
        width = max(len(ids) for ids, _ in examples)
        ids, attention, labels = collate(examples, width, 0, self.device)
        with torch.autocast(self.device, torch.bfloat16):
            loss = self.model(input_ids=ids, attention_mask=attention, labels=labels).loss
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program", choices=["recipe", "plain"])
    parser.add_argument("--config", type=pathlib.Path, required=True)
    parser.add_argument("--rows", type=pathlib.Path, required=True)
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=160)
    parser.add_argument("--steps", type=int, default=10, help="with those of --warmup")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()

    fields = json.loads(args.config.read_text())
    config = LlamaConfig(
        **{key: value for key, value in fields.items() if key != "torch_dtype"}
    )
    tokenizer = Tokenizer.from_file(str(args.tokenizer / "tokenizer.json"))
    examples = itertools.cycle(
        list(
            read_examples(
                args.rows, tokenizer, config.bos_token_id, config.eos_token_id, args.length
            )
        )
    )
    program = {"recipe": Recipe, "plain": Plain}[args.program](
        config, args.length, args.device
    )

    seconds = tokens = labelled = 0
    for step in range(args.steps):
        batch = list(itertools.islice(examples, args.batch))
        synchronize(args.device)
        start = time.perf_counter()
        program.step(batch)
        synchronize(args.device)
        if step < args.warmup:
            continue
        seconds += time.perf_counter() - start
        # What a program that leaves out the last token of a row, which predicts nothing,
        # runs through the model.
        tokens += sum(len(ids) - 1 for ids, _ in batch)
        labelled += sum(len(ids) - first for ids, first in batch)

    peak = used = 0
    if args.device == "cuda":
        free, total = torch.cuda.mem_get_info()
        peak, used = torch.cuda.max_memory_allocated(), total - free
    steps = args.steps - args.warmup
    print(
        json.dumps(
            {
                "steps": steps,
                "seconds": seconds,
                "examples": steps * args.batch,
                "tokens": tokens,
                "labelled_tokens": labelled,
                "total": peak,
                "device_used_bytes": used,
            }
        )
    )


if __name__ == "__main__":
    main()
