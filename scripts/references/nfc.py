#!/usr/bin/env python3
"""Where the NFC of `tokenizers` and that of utf8proc part, and texts in NFC.

    python scripts/make_references.py --only nfc      # needs libutf8proc (utf8proc 2.8)

`tokenizers` knows Unicode 9. Marks and letters that came later neither move nor compose
there. They go to src/tokenizer/newer_marks.inc; what is left of them is the same in both,
which is checked here for every character. tests/fixtures/tokenizers/nfc.json has texts and
what `tokenizers` makes of them.
"""

import ctypes
import ctypes.util
import random
from pathlib import Path

from _common import FIXTURES, arguments, write_json

from tokenizers import normalizers

SOURCE = Path(__file__).resolve().parents[2] / "src" / "tokenizer"
STABLE, COMPOSE, DECOMPOSE = 1 << 1, 1 << 3, 1 << 4

library = ctypes.CDLL(ctypes.util.find_library("utf8proc"))
library.utf8proc_map.restype = ctypes.c_ssize_t
memory = ctypes.CDLL(None)
nfc = normalizers.NFC().normalize_str


def mapped(text: str, form: int = COMPOSE) -> str:
    data, out = text.encode(), ctypes.c_void_p()
    size = library.utf8proc_map(data, ctypes.c_ssize_t(len(data)), ctypes.byref(out),
                                STABLE | form)
    assert size >= 0, text
    result = ctypes.string_at(out, size).decode()
    memory.free(out)
    return result


def around(c: str) -> tuple:
    """A character where it might move, compose, or keep others from it."""
    return (c, f"a{c}\u0323\u0301", f"{c}\u0301", f"a\u0301{c}", mapped(c, DECOMPOSE))


def ranges(points) -> list:
    found = []
    for c in points:
        if found and found[-1][1] == c - 1:
            found[-1][1] = c
        else:
            found.append([c, c])
    return found


def main() -> None:
    arguments(__doc__)
    characters = [chr(c) for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    newer = set()
    for c in characters:
        if any(nfc(text) != mapped(text) for text in around(c)):
            newer |= set("".join(around(c))) - set("a\u0301\u0323")
    lines = ["// Written by scripts/references/nfc.py: characters that `tokenizers`, with",
             "// Unicode 9, neither moves nor composes, and utf8proc does."]
    lines += [f"{{0x{a:x}, 0x{b:x}}}," for a, b in ranges(sorted(map(ord, newer)))]
    (SOURCE / "newer_marks.inc").write_text("\n".join(lines) + "\n")

    def ours(text):
        """What the program does: utf8proc between those characters."""
        out, run = "", ""
        for c in text:
            if c in newer:
                out, run = out + mapped(run) + c, ""
            else:
                run += c
        return out + mapped(run)

    for c in characters:
        for text in around(c):
            assert ours(text) == nfc(text), ascii(text)
    draw = random.Random(1)
    interesting = [c for c in characters if len(mapped(c, DECOMPOSE)) > 1 or
                   mapped(f"a{c}\u0323") != f"a{c}\u0323" or c in newer]
    texts = []
    for i in range(400):
        text = "".join(draw.choice(interesting if draw.random() < 0.7 else characters)
                       for _ in range(draw.randint(1, 12)))
        text = mapped(text, DECOMPOSE) if i % 2 else text
        assert ours(text) == nfc(text), ascii(text)
        texts.append([text, nfc(text)])
    write_json(FIXTURES / "tokenizers" / "nfc.json", texts)


if __name__ == "__main__":
    main()
