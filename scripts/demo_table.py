#!/usr/bin/env python3
"""Means over seeds of the runs that demo_table.sh leaves in a folder, as Markdown."""
import json
import pathlib
import statistics
import sys

FOLDER = pathlib.Path(sys.argv[1])
FOUR_ROWS = [("fp32 Adam", "adam"), ("fp32 Adafactor", "adafactor"),
             ("low memory (bf16, stochastic)", "lowmem")]
ROUNDING = [("fp32", "small-fp32"), ("bf16, stochastic", "small-stochastic"),
            ("bf16, Kahan", "small-kahan"), ("bf16, nearest", "small-nearest")]


def results(label):
    return [json.loads((path / "results.json").read_text())
            for path in sorted(FOLDER.glob(f"{label}-[0-9]*"))]


def percent(runs, when):
    values = [100 * run["accuracy"][when]["acc"] for run in runs]
    return f"{statistics.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def table(title, rows, first=()):
    print(f"\n{title}\n\n| method | accuracy, mean (range) | peak |\n|---|---|---|")
    for line in first:
        print(line)
    for name, label in rows:
        runs = results(label)
        peak = max(run["peak_bytes"]["total"] for run in runs) / 2**20
        print(f"| {name} | {percent(runs, 'after')} | {peak:.1f} MiB |")


table("Demo", FOUR_ROWS, [f"| no fine-tuning | {percent(results('adam'), 'before')} | - |"])
table("Demo at a small learning rate, Adafactor, 2 epochs", ROUNDING)
