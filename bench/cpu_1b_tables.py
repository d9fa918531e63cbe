#!/usr/bin/env python3
"""The bookkeeping of bench/cpu_1b.sh: JSON lines from runs, and Markdown tables from them.

    record-run LABEL RUN_FOLDER BATCH          a JSON line of a run of lowmem-train
    record-recipe LABEL LOG BATCH              ... of what python_recipe.py printed
    record-evaluation LABEL ROWS SECONDS START_UP COUNT
    long-rows FILE COUNT                       rows of more than 160 tokens, from real ones
    compare FILE | cost FILE | evaluation FILE      the tables
"""

import json
import re
import statistics
import sys
from pathlib import Path

GIB = 2**30


def lines(path) -> list:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


# --- JSON lines -------------------------------------------------------------------------

def record_run(label, folder, batch) -> None:
    steps = lines(Path(folder) / "metrics.jsonl")
    results = json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))
    print(json.dumps({
        "label": label, "batch": int(batch),
        "seconds": [step["step_seconds"] for step in steps],
        "tokens": [step["tokens"] for step in steps],
        "labelled_tokens": [step["labelled_tokens"] for step in steps],
        "peak_bytes": results["peak_bytes"], "rss_bytes": results["peak_rss_bytes"]}))


def record_recipe(label, log, batch) -> None:
    """examples/s has more digits than the seconds beside it."""
    steps = re.findall(r"([\d.]+) examples/s  peak RSS ([\d.]+) GiB", Path(log).read_text())
    print(json.dumps({
        "label": label, "batch": int(batch),
        "seconds": [int(batch) / float(speed) for speed, _ in steps],
        "rss_bytes": max(float(peak) for _, peak in steps) * GIB}))


def record_evaluation(label, rows, seconds, start_up, count) -> None:
    """START_UP is of a run of one row, SECONDS of one of COUNT more."""
    rows = lines(rows)[:int(count)]
    print(json.dumps({
        "label": label, "seconds": float(seconds) - float(start_up),
        "start_up_seconds": float(start_up), "acc": sum(row["acc"] for row in rows),
        "log_likelihoods": [row["log_likelihoods"] for row in rows]}))


def long_rows(path, count) -> None:
    """A word is at least one token: the contexts of 80 words leave room for labels, and with
    endings of 160 words no row is whole in 160 tokens."""
    rows = lines(path)
    contexts = " ".join(row["ctx"] for row in rows).split()
    endings = " ".join(ending for row in rows for ending in row["endings"]).split()
    for i in range(int(count)):
        row = {"ind": i, "ctx": " ".join(contexts[80 * i:80 * (i + 1)]), "label": 0,
               "endings": [" ".join(endings[160 * i:160 * (i + 1)]), "-", "-", "-"]}
        print(json.dumps(row))


# --- tables -----------------------------------------------------------------------------

def table(head, rows) -> None:
    if not rows:
        return
    print("| " + " | ".join(head) + " |\n|---|" + "---:|" * (len(head) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def gib(count) -> str:
    return "-" if count is None else f"{count / GIB:.3f}"


def merged(path) -> list:
    """One entry a label and batch: counted steps of all its runs, the highest of the peaks."""
    entries = {}
    for line in lines(path):
        entry = entries.setdefault((line["label"], line["batch"]), {
            "label": line["label"], "batch": line["batch"], "seconds": [], "tokens": [],
            "peak": None, "rss": 0})
        entry["seconds"] += line["seconds"][1:] or line["seconds"]
        entry["tokens"] += line.get("tokens", [])
        entry["rss"] = max(entry["rss"], line["rss_bytes"])
        if "peak_bytes" in line:
            entry["peak"] = max(entry["peak"] or 0, line["peak_bytes"]["total"])
    for entry in entries.values():
        entry["step"] = statistics.median(entry["seconds"])
    return list(entries.values())


def tokens_of(entry) -> str:
    tokens = entry["tokens"]
    return f"{statistics.mean(tokens):.0f}" if tokens else "-"


def compare(path) -> None:
    """Python's entries come first, and the first is what the others are measured by."""
    entries = sorted(merged(path), key=lambda entry: entry["peak"] is not None)
    head = ["", "seconds a step", "examples/s", *(f"times {entry['label']}"
            for entry in entries if entry["peak"] is None),
            "tokens a step", "allocator peak, GiB", "resident peak, GiB"]
    others = [entry for entry in entries if entry["peak"] is None]
    table(head, [[
        entry["label"], f"{entry['step']:.2f}", f"{entry['batch'] / entry['step']:.3f}",
        *(f"{other['step'] / entry['step']:.2f}" for other in others),
        tokens_of(entry), gib(entry["peak"]), gib(entry["rss"])] for entry in entries])


def cost(path) -> None:
    table(["parameters", "rows", "seconds a step", "examples/s", "tokens a step",
           "allocator peak, GiB", "resident peak, GiB"],
          [[entry["label"], str(entry["batch"]), f"{entry['step']:.3f}",
            f"{entry['batch'] / entry['step']:.2f}", tokens_of(entry), gib(entry["peak"]),
            gib(entry["rss"])] for entry in merged(path)])


def evaluation(path) -> None:
    entries = lines(path)
    table(["", "seconds", "start-up, s", "rows/s", "right"],
          [[entry["label"], f"{entry['seconds']:.2f}", f"{entry['start_up_seconds']:.2f}",
            f"{len(entry['log_likelihoods']) / entry['seconds']:.1f}", str(entry["acc"])]
           for entry in entries])
    first = entries[0] if entries else None
    for other in entries[1:]:
        difference = max(abs(a - b) for row, same in
                         zip(first["log_likelihoods"], other["log_likelihoods"], strict=True)
                         for a, b in zip(row, same, strict=True))
        largest = max(abs(a) for row in other["log_likelihoods"] for a in row)
        print(f"\n{first['label']} is {other['seconds'] / first['seconds']:.2f} times as fast "
              f"as {other['label']}; log-likelihoods (up to {largest:.0f}) differ by at most "
              f"{difference:.1e}.")


if __name__ == "__main__":
    commands = {"record-run": record_run, "record-recipe": record_recipe,
                "record-evaluation": record_evaluation, "long-rows": long_rows,
                "compare": compare, "cost": cost, "evaluation": evaluation}
    commands[sys.argv[1]](*sys.argv[2:])
