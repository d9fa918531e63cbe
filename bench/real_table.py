#!/usr/bin/env python3
"""The bookkeeping of bench/real_table.sh: configurations from recipes, learning rates from
runs, tables from runs. Needs Python's standard library alone.

    held-out ROWS SKIP FILE         rows after the first SKIP as prompts and completions, so
                                    that their loss is the one that training lowers
    tried FOLDER                    a configuration an optimizer; prints each with its rates
    choose RUNS STEPS ROWS RATES    the rates file, from the finished runs of these
    recipes RATES FOLDER [NAME...]  a configuration a recipe; prints their names
    table RUNS JSON                 results as JSON and, printed, as Markdown
        --seeds "1 2" --rows COUNT
"""
import argparse
import json
import math
import re
import statistics
import sys
from pathlib import Path

from real_recipes import BY_NAME, COMMON, RECIPES, SAME_BITS, TRIED, yaml

MIB = 2**20
LAST_STEPS = 100  # of which the mean is a run's loss: one of 8 rows says little
PLACES = ("activations", "kept", "weights", "ahead", "resident_blocks", "gradients")
SCORES = ("acc", "acc_norm")
BASES = ("fp32_adam", "fp32_adafactor", "none")  # what the others are compared with


def fail(message: str):
    sys.exit(f"real_table: error: {message}")


def lines(path: Path) -> list:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def finished(run: Path):
    """results.json of a run that has finished, else None."""
    path = run / "results.json"
    if not path.exists():
        return None
    results = json.loads(path.read_text(encoding="utf-8"))
    return results if results["status"] == "finished" else None


# --- learning rates -----------------------------------------------------------------------

def held_out(rows: Path, skip: int, file: Path) -> None:
    with file.open("w", encoding="utf-8") as out:
        for row in lines(rows)[skip:]:
            completion = " " + row["endings"][int(row["label"])]
            out.write(json.dumps({"prompt": row["ctx"], "completion": completion}) + "\n")


def tried(folder: Path) -> None:
    for optimizer, (name, rates) in TRIED.items():
        config = folder / f"{optimizer}.yaml"
        config.write_text(yaml({**COMMON, **BY_NAME[name].settings}), encoding="utf-8")
        print(config, ",".join(rates))


def choose(runs: Path, steps: int, rows: int, file: Path) -> None:
    chosen = {}
    for optimizer, (name, rates) in TRIED.items():
        found = []
        for rate in rates:
            run = runs / f"{optimizer}-lr={rate}-seed1"
            results = finished(run)
            if results is None:
                fail(f"{run} has not finished: run bench/real_table.sh --choose-rates again")
            loss = results["perplexity"]["after"]["loss"]
            # A loss that is no number is null.
            found.append({"lr": float(rate), "loss": None if loss is None else round(loss, 5)})
        before = results["perplexity"]["before"]
        counted = [entry for entry in found if entry["loss"] is not None]
        if not counted:
            fail(f"{optimizer}: no rate left a finite loss: bench/real_recipes.py needs lower ones")
        best = min(counted, key=lambda entry: entry["loss"])
        chosen[optimizer] = {"lr": best["lr"], "recipe": name, "tried": found}
        print(f"{optimizer}: {best['lr']:g} of " +
              ", ".join(f"{entry['lr']:g} ({entry['loss']})" for entry in found))
        if best["lr"] in (found[0]["lr"], found[-1]["lr"]):
            print("  the best is at the end of those tried: bench/real_recipes.py can have more")
    text = json.dumps({
        "chosen_by": "loss of a labelled token of held-out training rows", "held_out_rows": rows,
        "loss_before": round(before["loss"], 5), "steps": steps, "optimizers": chosen}, indent=1)
    file.write_text(text + "\n", encoding="utf-8")


def rates_of(file: Path) -> dict:
    try:
        optimizers = json.loads(file.read_text(encoding="utf-8"))["optimizers"]
        return {name: float(entry["lr"]) for name, entry in optimizers.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        fail(f"{file} has no learning rates ({error}): bench/real_table.sh --choose-rates "
             "writes it")


def recipes(file: Path, folder: Path, names: list) -> None:
    rates = rates_of(file)
    for name in names or BY_NAME:
        if name not in BY_NAME:
            fail(f"RECIPES: there is no {name}; there are {', '.join(BY_NAME)}")
        recipe = BY_NAME[name]
        if recipe.optimizer not in rates:
            fail(f"{file} has no rate for {recipe.optimizer}: bench/real_table.sh "
                 "--choose-rates writes it")
        config = folder / f"{name}.yaml"
        settings = {**COMMON, **recipe.settings, "optimizer.lr": f"{rates[recipe.optimizer]:.4g}"}
        config.write_text(yaml(settings), encoding="utf-8")
        print(config)


# --- what runs have -----------------------------------------------------------------------

def scores_of(file: Path) -> dict:
    """A list over rows of each score, and of the right ending's negative log-likelihood."""
    rows = sorted(lines(file), key=lambda row: row["index"])
    scores = {score: [row[score] for row in rows] for score in SCORES}
    scores["nll"] = [-row["log_likelihoods"][row["label"]] for row in rows]
    return scores


def mean_over(seeds: list) -> dict:
    """The same lists, of means over seeds."""
    return {key: [statistics.mean(values) for values in zip(*(one[key] for one in seeds),
                                                            strict=True)]
            for key in seeds[0]}


def last_loss(curve: list) -> float:
    """The mean over labelled tokens of the last steps."""
    end = curve[-1]["step"]
    last = [line for line in curve if line["step"] > end - LAST_STEPS]
    weights = [line["labelled_tokens"] for line in last]
    return sum(line["loss"] * weight for line, weight in zip(last, weights)) / sum(weights)


def means(scores: dict) -> dict:
    return {key: statistics.mean(values) for key, values in scores.items()}


def section_of(run: Path, name: str) -> dict:
    """The words of a section of config.yaml, in the form that the program writes."""
    text = (run / "config.yaml").read_text(encoding="utf-8")
    section = re.search(rf"^{name}:\n((?: .*\n)+)", text, re.MULTILINE)
    return dict(re.findall(r"^ +(\w+): (.*)$", section[1], re.MULTILINE))


def entry_of(recipe, runs: Path, seeds: list):
    """What is known of a recipe, and its scores by row; None without a finished run."""
    found = []
    for seed in seeds:
        run = runs / f"{recipe.name}-seed{seed}"
        results = finished(run)
        if results is None:
            continue
        curve = [line for line in lines(run / "metrics.jsonl") if "loss" in line]
        found.append((seed, results, curve, scores_of(run / "evaluation-0.jsonl"),
                      scores_of(run / f"evaluation-{results['steps']}.jsonl"), run))
    if not found:
        return None
    after = mean_over([one[4] for one in found])
    all_results = [one[1] for one in found]
    memory = section_of(found[0][5], "memory")  # some of it chosen by a budget
    entry = {
        "recipe": recipe.name, "words": recipe.words, "kind": recipe.kind,
        "lr": float(section_of(found[0][5], "optimizer")["lr"]),
        "memory": {key: memory[key] for key in PLACES},
        "seeds": [one[0] for one in found], "steps": all_results[0]["steps"],
        "loss": statistics.mean(last_loss(one[2]) for one in found),
        "loss_by_seed": [last_loss(one[2]) for one in found],
        "before": means(found[0][3]), **means(after),
        "acc_by_seed": [means(one[4])["acc"] for one in found],
        "peak_bytes": max(one["peak_bytes"]["total"] for one in all_results),
        "resident_bytes": max(one["peak_rss_bytes"] for one in all_results),
        "examples_per_second": statistics.mean(one["examples_per_second"]
                                               for one in all_results),
        "seconds": statistics.mean(one["seconds"] for one in all_results),
        # A letter a row: the whole evaluation of each seed, for other comparisons.
        "right": {score: ["".join(str(int(value)) for value in one[4][score]) for one in found]
                  for score in SCORES},
        "losses": [[round(line["loss"], 4) for line in one[2]] for one in found],
    }
    return entry, after, found[0]


def compared(scores: dict, base: dict) -> dict:
    """Mean paired difference over rows, with its standard error, of each score."""
    result = {}
    for key, values in scores.items():
        differences = [a - b for a, b in zip(values, base[key], strict=True)]
        error = statistics.stdev(differences) / math.sqrt(len(differences))
        result[key] = {"difference": statistics.mean(differences), "error": error}
    return result


def same_bits(firsts: dict) -> str:
    names = [name for name in SAME_BITS if name in firsts]
    if len(names) < 2:
        return ""
    words = "; ".join(BY_NAME[name].words for name in names)
    base = firsts[names[0]]
    same = all([line["loss"] for line in firsts[name][2]] == [line["loss"] for line in base[2]] and
               firsts[name][4] == base[4] for name in names)
    if same:
        return f"Every loss and score of these is the same number: {words}."
    return f"WRONG: losses or scores differ, though only places and times do: {words}."


# --- tables ---------------------------------------------------------------------------------

def print_table(head: list, rows: list) -> None:
    print("| " + " | ".join(head) + " |\n|---|" + "---:|" * (len(head) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def difference(pair: dict, scale: float, digits: int) -> str:
    return f"{scale * pair['difference']:+.{digits}f} ± {scale * pair['error']:.{digits}f}"


def points(entry: dict, base: str) -> list:
    pairs = entry["against"].get(base)
    return [difference(pairs[score], 100, 1) if pairs else "" for score in SCORES]


def results_table(none: dict, entries: list) -> None:
    base = BY_NAME[BASES[0]].words
    rows = [["no fine-tuning", "", "", percent(none["acc"]), percent(none["acc_norm"]),
             *points(none, BASES[0]), "", "", "", ""]]
    for entry in entries:
        rows.append([
            entry["words"], f"{entry['lr']:g}", f"{entry['loss']:.3f}", percent(entry["acc"]),
            percent(entry["acc_norm"]), *points(entry, BASES[0]),
            f"{entry['peak_bytes'] / MIB:.0f}", f"{entry['resident_bytes'] / MIB:.0f}",
            f"{entry['examples_per_second']:.2f}", f"{entry['seconds']:.0f}"])
    print_table(["", "learning rate", "loss", "acc", "acc_norm", f"acc less {base}'s",
                 f"acc_norm less {base}'s", "tensors, MiB", "process, MiB", "examples/s",
                 "seconds"], rows)


def differences_table(entries: list) -> None:
    words = {"none": "the untrained model", **{recipe.name: recipe.words for recipe in RECIPES}}
    bases = [base for base in BASES if any(base in entry["against"] for entry in entries)]
    head, rows = [""], [[entry["words"]] for entry in entries]
    for base in bases:
        # Of the first base the other table has points.
        head += [f"{key} less {words[base]}'s"
                 for key in ("nats", *(SCORES if base != BASES[0] else ()))]
        for row, entry in zip(rows, entries):
            pairs = entry["against"].get(base)
            row.append(difference(pairs["nll"], 1, 3) if pairs else "")
            row += points(entry, base) if base != BASES[0] else []
    print_table(head, rows)


def table(runs: Path, json_file: Path, seeds: list, rows: int) -> None:
    entries, scores, firsts, missing = [], {}, {}, []
    for recipe in RECIPES:
        found = entry_of(recipe, runs, seeds)
        if found is None:
            missing.append(recipe.words)
            continue
        entry, scores[recipe.name], firsts[recipe.name] = found
        entries.append(entry)
    if not entries:
        fail(f"{runs} holds no finished run: start bench/real_table.sh without --table")
    # Before training all runs have the same model; low memory's arithmetic is bf16 throughout.
    first = firsts.get("lowmem", next(iter(firsts.values())))
    scores["none"] = first[3]
    none = means(scores["none"])
    for name, entry in [("none", none)] + [(entry["recipe"], entry) for entry in entries]:
        entry["against"] = {base: compared(scores[name], scores[base])
                            for base in BASES if base in scores and base != name}
    versions = first[1]["versions"]
    count = len(scores["none"]["acc"])
    json_file.write_text(json.dumps({
        "model": "SmolLM2-135M-Instruct", "training_rows": rows, "validation_rows": count,
        "batch_size": 8, "seeds": seeds, "versions": versions, "none": none,
        "recipes": entries}, indent=1) + "\n", encoding="utf-8")
    print(f"One epoch of {rows} rows, {entries[0]['steps']} steps of 8; {count} validation rows, "
          f"seeds {', '.join(seeds)}.\n")
    results_table(none, entries)
    print("\nPaired differences over validation rows, ± their standard error: nats of the right "
          "ending's\nnegative log-likelihood, of which less is better, then points:\n")
    differences_table(entries)
    for entry in entries:
        if entry["recipe"] == "budget":
            print("\nThe budget chose " + ", ".join(f"memory.{key}={value}" for key, value in
                                                   entry["memory"].items()) + ".")
    for text in (same_bits(firsts), missing and f"Not finished: {', '.join(missing)}."):
        if text:
            print(f"\n{text}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name, *arguments):
        added = commands.add_parser(name)
        for argument, kind in arguments:
            added.add_argument(argument, type=kind)
        return added
    command("held-out", ("rows", Path), ("skip", int), ("file", Path))
    command("tried", ("folder", Path))
    command("choose", ("runs", Path), ("steps", int), ("rows", int), ("file", Path))
    command("recipes", ("file", Path), ("folder", Path)).add_argument("names", nargs="*")
    tables = command("table", ("runs", Path), ("json_file", Path))
    tables.add_argument("--seeds", required=True)
    tables.add_argument("--rows", type=int, required=True)
    args = parser.parse_args()
    if args.command == "held-out":
        held_out(args.rows, args.skip, args.file)
    elif args.command == "tried":
        tried(args.folder)
    elif args.command == "choose":
        choose(args.runs, args.steps, args.rows, args.file)
    elif args.command == "recipes":
        recipes(args.file, args.folder, args.names)
    else:
        table(args.runs, args.json_file, args.seeds.split(), args.rows)


if __name__ == "__main__":
    main()
