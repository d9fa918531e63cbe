#!/usr/bin/env python3
"""LoRA steps in transformers with PEFT, as what bench/adapters.sh compares with.

    python adapters_peft.py MODEL ROWS [--steps 4] [--dtype bfloat16] [--pad longest|160]
                            [--rank 16] [--checkpointing]

HellaSwag rows as lowmem-train makes them: a context, a blank and the right ending, with a
label on each of the ending's tokens and on the end of text. AdamW, all linear layers, no
dropout. Prints a line of JSON a step: loss, seconds, examples a second, the resident size so
far.
"""
import argparse
import json
import resource
import time

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

IGNORE = -100


def tokens_of(tokenizer, row, bos, eos):
    context = tokenizer.encode(row["ctx"], add_special_tokens=False).ids
    whole = tokenizer.encode(row["ctx"] + " " + row["endings"][int(row["label"])],
                             add_special_tokens=False).ids
    ids = [bos, *whole, eos]
    labels = [IGNORE] * (1 + len(context)) + ids[1 + len(context):]
    return ids[:160], labels[:160]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("rows")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--pad", default="longest")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--checkpointing", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(1)
    tokenizer = Tokenizer.from_file(f"{args.model}/tokenizer.json")
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype))
    bos, eos = model.config.bos_token_id, model.config.eos_token_id
    model = get_peft_model(model, LoraConfig(
        r=args.rank, lora_alpha=2 * args.rank, target_modules="all-linear",
        task_type="CAUSAL_LM"))
    model.config.use_cache = False
    model.train()
    if args.checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable()
    trained = [p for p in model.parameters() if p.requires_grad]
    rule = torch.optim.AdamW(trained, lr=2e-4, weight_decay=0.01)
    with open(args.rows, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file][:args.steps * args.batch_size]
    for step in range(args.steps):
        batch = [tokens_of(tokenizer, row, bos, eos)
                 for row in rows[step * args.batch_size:][:args.batch_size]]
        width = 160 if args.pad == "160" else max(len(ids) for ids, _ in batch)
        start = time.perf_counter()
        ids = torch.tensor([ids + [eos] * (width - len(ids)) for ids, _ in batch])
        labels = torch.tensor([labels + [IGNORE] * (width - len(labels))
                               for _, labels in batch])
        mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in batch])
        rule.zero_grad()
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
        loss = cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(),
                             ignore_index=IGNORE)
        loss.backward()
        rule.step()
        seconds = time.perf_counter() - start
        print(json.dumps({
            "step": step + 1, "loss": loss.item(), "step_seconds": seconds,
            "tokens": int(mask.sum()), "examples_per_second": args.batch_size / seconds,
            "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }), flush=True)


if __name__ == "__main__":
    main()
