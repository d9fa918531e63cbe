#!/usr/bin/env python3
"""Mean negative log-likelihood of labelled tokens, as transformers computes it.

    python scripts/references/perplexity.py    # writes tests/fixtures/training/perplexity.json

The sequences are the first three batches of tests/fixtures/training/batches.json; one of
them has no label and is left out. Each runs alone, in float32 with eager attention; sums
are in float64.

    [{"model": folder in models/, "loss": x, "perplexity": exp(x), "tokens": n}]
"""

import json
import math

from _common import FIXTURES, arguments, rounded, write_json

import torch
from transformers import LlamaForCausalLM

BATCHES = 3


def main():
    arguments(__doc__)
    batches = json.loads((FIXTURES / "training" / "batches.json").read_text())[:BATCHES]
    sequences = [s for batch in batches for s in batch if any(k >= 0 for k in s["labels"])]
    results = []
    for name in ("llama2_tiny", "llama32_tiny"):
        model = LlamaForCausalLM.from_pretrained(
            FIXTURES / "models" / name, dtype=torch.float32, attn_implementation="eager")
        total, tokens = 0.0, 0
        for sequence in sequences:
            labels = torch.tensor(sequence["labels"])
            with torch.no_grad():
                logits = model(torch.tensor([sequence["ids"]])).logits[0].double()
            total += torch.nn.functional.cross_entropy(
                logits, labels, ignore_index=-100, reduction="sum").item()
            tokens += int((labels >= 0).sum())
        loss = total / tokens
        results.append({"model": name, "loss": rounded(loss),
                        "perplexity": rounded(math.exp(loss)), "tokens": tokens})
    write_json(FIXTURES / "training" / "perplexity.json", results)


if __name__ == "__main__":
    main()
