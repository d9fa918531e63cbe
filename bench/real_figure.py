#!/usr/bin/env python3
"""Draws loss and accuracy against memory from what bench/real_table.sh measured.

    python3 bench/real_figure.py bench/results/real_table.json docs/real-table.svg

Each recipe is a point with a number, in both panels: the most that the whole process kept
resident, on a logarithmic scale, and the loss of the last 100 training steps, or acc_norm. A
bar is one standard error, over rows, of the paired difference from FP32 Adam.
"""
import json
import math
import sys

PANEL, GAP, LEFT, TOP, HEIGHT, LEGEND = 300, 70, 60, 40, 360, 290
BOTTOM = TOP + 270
WIDTH = LEFT + 2 * PANEL + GAP + LEGEND
COLOURS = {"fp32": "#b4513b", "bf16": "#2b6ca3", "adapter": "#3f8a4f"}
KINDS = {"fp32": "fp32 weights", "bf16": "bf16 weights", "adapter": "adapters"}
BASE = "fp32_adam"
AROUND = [(10, -7), (10, 13), (-12, -7), (-12, 13), (0, -11), (0, 19), (16, 4), (-18, 4)]


def text(x, y, words, anchor="middle", size=12, fill="#333"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'fill="{fill}">{words}</text>')


def line(x1, y1, x2, y2, stroke="#ddd", more=""):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{stroke}" {more}/>')


def ticks(low: float, high: float) -> list:
    """Some four to eight round numbers from `low` to `high`."""
    rough = (high - low) / 6
    power = 10.0**math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def widened(values: list) -> tuple:
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


class Panel:
    """One set of axes, from `left` on: memory across, a value up."""

    def __init__(self, left, title, memory, values):
        self.left, self.title = left, title
        self.memory = (min(memory) / 1.15, max(memory) * 1.15)
        self.values = widened(values)

    def across(self, memory):
        low, high = self.memory
        return self.left + PANEL * math.log(memory / low) / math.log(high / low)

    def up(self, value):
        low, high = self.values
        return BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low)

    def axes(self) -> list:
        out = [text(self.left, TOP - 14, self.title, "start", 13)]
        ends = (math.log2(self.memory[0]), math.log2(self.memory[1]))
        # Half powers too, where there would be fewer than three lines.
        step = 1.0 if ends[1] - ends[0] >= 3 else 0.5
        for i in range(math.ceil(ends[0] / step), math.floor(ends[1] / step) + 1):
            x = self.across(2.0**(i * step))
            out.append(line(x, TOP, x, BOTTOM))
            out.append(text(x, BOTTOM + 18, f"{2.0**(i * step - 30):.2g}"))
        for value in ticks(*self.values):
            out.append(line(self.left, self.up(value), self.left + PANEL, self.up(value)))
            out.append(text(self.left - 8, self.up(value) + 4, f"{value:.4g}", "end"))
        out.append(text(self.left + PANEL / 2, BOTTOM + 38, "resident memory of the process, GiB"))
        return out

    def level(self, value, words) -> list:
        y = self.up(value)
        return [line(self.left, y, self.left + PANEL, y, "#999", 'stroke-dasharray="5 4"'),
                text(self.left + PANEL - 4, y - 5, words, "end", 11, "#777")]

    def points(self, rows: list) -> list:
        """`rows`: number, colour, memory, value, bar. A number goes where it hides least."""
        out = []
        places = [(self.across(memory), self.up(value)) for _, _, memory, value, _ in rows]
        taken = list(places)
        for (number, colour, _, value, bar), (x, y) in zip(rows, places):
            if bar:
                out.append(line(x, self.up(value - bar), x, self.up(value + bar), colour,
                                'stroke-opacity="0.5"'))
            out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>')
            room = [min(math.dist((x + dx, y + dy - 4), other) for other in taken)
                    for dx, dy in AROUND]
            dx, dy = AROUND[room.index(max(room))]
            taken.append((x + dx, y + dy - 4))
            out.append(text(x + dx, y + dy, number, "middle", 11, colour))
        return out


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        results = json.load(file)
    recipes, none = results["recipes"], results["none"]
    memory = [recipe["resident_bytes"] for recipe in recipes]
    bars = [100 * recipe["against"].get(BASE, {}).get("acc_norm", {}).get("error", 0.0)
            for recipe in recipes]
    scores = [100 * recipe["acc_norm"] for recipe in recipes]
    reach = [score + sign * bar for score, bar in zip(scores, bars) for sign in (-1, 1)]

    def rows(values, errors):
        return [(i + 1, COLOURS[recipe["kind"]], recipe["resident_bytes"], value, error)
                for i, (recipe, value, error) in enumerate(zip(recipes, values, errors))]
    losses = [recipe["loss"] for recipe in recipes]
    first = Panel(LEFT, "training loss, last 100 steps", memory, losses)
    second = Panel(LEFT + PANEL + GAP, "HellaSwag acc_norm, percent", memory,
                   [*reach, 100 * none["acc_norm"]])
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
           f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    out += first.axes() + first.points(rows(losses, [0.0] * len(losses)))
    out += second.axes() + second.level(100 * none["acc_norm"], "no fine-tuning")
    out += second.points(rows(scores, bars))
    x = LEFT + 2 * PANEL + GAP + 24
    for i, recipe in enumerate(recipes):
        y = TOP + 10 + 18 * i
        colour = COLOURS[recipe["kind"]]
        out.append(text(x + 14, y, i + 1, "end", 12, colour))
        out.append(text(x + 22, y, f'{recipe["words"]}: {recipe["resident_bytes"] / 2**30:.2f}',
                        "start", 12, colour))
    kinds = [kind for kind in KINDS if any(recipe["kind"] == kind for recipe in recipes)]
    for i, kind in enumerate(kinds):
        y = BOTTOM + 2 - 18 * (len(kinds) - 1 - i)
        out.append(f'<circle cx="{x + 10}" cy="{y - 4}" r="4.5" fill="{COLOURS[kind]}"/>')
        out.append(text(x + 22, y, KINDS[kind], "start", 12, "#555"))
    out.append("</svg>")
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
