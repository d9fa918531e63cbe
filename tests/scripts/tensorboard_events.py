"""Compares event files, as TensorBoard reads them, with a run's own account.

    tensorboard_events.py RUNS

RUNS holds the runs `whole` (4 steps, in place of one of 10), `resumed` and `evaluated` (10
steps, gone on with after step 5 and after the last) and `without` (run.tensorboard = false).
"""

import json
import math
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

GIB = 1 << 30
TAG_OF_FIELD = {
    "Train/loss": ("loss", 1),
    "Train/lr": ("lr", 1),
    "Train/epoch": ("epoch", 1),
    "Train/tokens_per_second": ("tokens_per_second", 1),
    "Train/step_seconds": ("step_seconds", 1),
    "Train/memoryGB": ("peak_bytes", GIB),
    "Train/rssGB": ("rss_bytes", GIB),
    "Train/grad_norm": ("grad_norm", 1),
    "Train/rounding_lost": ("rounding_lost", 1),
}


def event_files(run):
    return sorted(file.name for file in run.glob("*tfevents*"))


def read(run):
    accumulator = EventAccumulator(str(run), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def expected(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    values = {}
    for tag, (field, unit) in TAG_OF_FIELD.items():
        found = [(line["step"], line[field] / unit) for line in lines if field in line]
        if found:
            values[tag] = found
    results = json.loads((run / "results.json").read_text())
    for section, fields in (("accuracy", ("acc", "acc_norm")),
                            ("perplexity", ("perplexity", "loss"))):
        scores = results[section]
        evaluated = {0: scores["before"], results["steps"]: scores["after"]}
        evaluated |= {epoch["step"]: epoch for epoch in scores["epochs"]}
        for field in fields:
            values["val/" + field] = [
                (step, evaluated[step][field]) for step in sorted(evaluated)]
    return values


def compare(run, steps):
    read_back, wanted = read(run), expected(run)
    assert set(read_back) == set(wanted), (run.name, set(read_back) ^ set(wanted))
    assert {"Train/loss", "Train/memoryGB", "val/acc", "val/perplexity"} <= set(read_back)
    assert wanted["Train/loss"][-1][0] == steps, wanted["Train/loss"]
    for tag, points in wanted.items():
        assert [step for step, _ in read_back[tag]] == [step for step, _ in points], (
            run.name, tag, read_back[tag], points)
        for (step, got), (_, value) in zip(read_back[tag], points):
            assert math.isclose(got, value, rel_tol=2**-23, abs_tol=1e-30), (
                run.name, tag, step, got, value)
    print(f"{run.name}: {len(wanted)} tags, {sum(map(len, wanted.values()))} values agree")


runs = pathlib.Path(sys.argv[1])
compare(runs / "whole", steps=4)
assert len(event_files(runs / "whole")) == 1, "the replaced run's event file is still there"
for name in ("resumed", "evaluated"):
    compare(runs / name, steps=10)
    assert len(event_files(runs / name)) == 2, "a run that goes on has a file of its own"
assert not event_files(runs / "without")
