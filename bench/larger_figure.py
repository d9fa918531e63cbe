#!/usr/bin/env python3
"""Draws "model size against memory" from runs that bench/larger.sh measured.

    python3 bench/larger_figure.py bench/results/larger.json docs/larger-models.svg

Each run is a point: the bytes of the model's weights in its files, and the most that the whole
process kept resident, both on logarithmic scales; the diagonal is where they are equal.
"""
import json
import math
import sys

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 420, 70, 50, 30, 150
LOW, HIGH = 2**28, 2**36  # bytes: 0.25 to 64 GiB
KINDS = {"resident": ("#b4513b", "weights in memory"),
         "disk": ("#2b6ca3", "weights on disk")}
WORDS = {"1b": "1B", "8b": "8B", "8b32": "8B, 32 rows", "13b": "13B",
         "adam": "1B, fp32 Adam"}


def across(value: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * math.log2(value / LOW) / math.log2(HIGH / LOW)


def up(value: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * math.log2(value / LOW) / math.log2(
        HIGH / LOW)


def text(x, y, words, anchor="middle", size=12, fill="#333"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'fill="{fill}">{words}</text>')


def main() -> None:
    runs = json.load(open(sys.argv[1], encoding="utf-8"))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
           f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for power in range(-2, 7, 2):
        value = 2.0**(30 + power)
        label = f"{2.0**power:g}"
        out.append(f'<line x1="{across(value):.1f}" x2="{across(value):.1f}" y1="{TOP}" '
                   f'y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        out.append(f'<line y1="{up(value):.1f}" y2="{up(value):.1f}" x1="{LEFT}" '
                   f'x2="{WIDTH - RIGHT}" stroke="#ddd"/>')
        out.append(text(across(value), HEIGHT - BOTTOM + 18, label))
        out.append(text(LEFT - 8, up(value) + 4, label, "end"))
    out.append(f'<line x1="{across(LOW):.1f}" y1="{up(LOW):.1f}" x2="{across(HIGH):.1f}" '
               f'y2="{up(HIGH):.1f}" stroke="#999" stroke-dasharray="5 4"/>')
    out.append(text(across(HIGH) + 6, up(HIGH) + 4, "as large as the weights", "start", 11,
                    "#777"))
    out.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "weights of the model, GiB"))
    out.append(text(LEFT, TOP - 12, "resident memory of the process in training, GiB",
                    "start"))
    seen = set()
    for run in runs:
        kind = "resident" if run["home"] == "resident" else "disk"
        if (run["case"], kind) in seen:  # of several the first: with one block ahead
            continue
        seen.add((run["case"], kind))
        colour = KINDS[kind][0]
        x, y = across(run["weights_bytes"]), up(run["resident_bytes"])
        out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>')
        below = kind == "disk"
        out.append(text(x + 8, y + (14 if below else -6),
                        f'{WORDS[run["case"]]}: {run["resident_bytes"] / 2**30:.2f}',
                        "start", 11, colour))
    for i, (colour, words) in enumerate(KINDS.values()):
        y = HEIGHT - BOTTOM - 14 - 18 * i
        out.append(f'<circle cx="{WIDTH - RIGHT - 130}" cy="{y - 4}" r="5" fill="{colour}"/>')
        out.append(text(WIDTH - RIGHT - 120, y, words, "start"))
    out.append("</svg>")
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
