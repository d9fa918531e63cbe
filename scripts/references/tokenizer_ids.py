#!/usr/bin/env python3
"""Small tokenizers of every kind, and the ids that the field's libraries give with them.

    python scripts/make_references.py --only tokenizer_ids

Run alone it needs Python 3.11 (whose Unicode is PCRE2 10.42's, version 14) with the packages
of requirements.txt, and ../shared. It writes

  tests/fixtures/tokenizers/<kind>/          a model-like folder each
  tests/fixtures/tokenizers/texts.json       what is encoded: lines, then hard strings
  tests/fixtures/tokenizers/<kind>.json      ids, decoded texts, BOS and EOS
  tests/fixtures/tokenizers/variants.json    the same with other settings in tokenizer.json
  tests/fixtures/tokenizers/real_<name>.json the same for tokenizers of ../shared, whose
                                             lines are of ../shared/data/corpora, as hashes
  src/tokenizer/newer_characters.inc         characters that Unicode 14 did not know

tokenizer.json is what `tokenizers` makes of it (where transformers builds its own tokenizer
from the same file instead, the two can differ), the tiktoken file is tiktoken's, the
SentencePiece model is sentencepiece's. Special tokens written in a text are ids; sentencepiece
has no notion of that, so it is given what lies between them, as transformers does. The script
prints where transformers' own rebuilding of a SentencePiece model gives other ids.

decode() leaves special tokens out. The script removes their ids itself, because `tokenizers`
0.23.3 does not recognise a special token whose normalized form differs from its name.
"""

import base64
import json
import re
import shutil
import sys
import tempfile
import unicodedata
from pathlib import Path

from _common import FIXTURES, arguments, write_json
from _tokenizer_kinds import (LLAMA3, OUT, llama3_names, make_byte_level, make_llama2_style,
                              make_sentencepiece, make_tiktoken, make_word_level, variants)
from _tokenizer_texts import (ADDED_TEXTS, HARD, corpus_lines, decoded_utf8, expanded,
                              special_texts, written_text)

import sentencepiece
import tiktoken
from tokenizers import Regex, Tokenizer, pre_tokenizers
from transformers import AutoTokenizer

SOURCE = FIXTURES.parents[1] / "src" / "tokenizer"


def fnv(values) -> str:
    """64-bit FNV-1a of a text, or of ids as little-endian int32, in hexadecimal."""
    value = 0xCBF29CE484222325
    if isinstance(values, list):
        values = b"".join(i.to_bytes(4, "little") for i in values)
    for byte in values.encode() if isinstance(values, str) else values:
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return f"{value:016x}"


def written_ids(ids, longest):
    return ids if len(ids) <= longest else {"count": len(ids), "fnv": fnv(ids)}


class Encoder:
    """encode(str) -> ids and decode(ids) -> str with special tokens left out."""

    def __init__(self, encode, decode, special_ids):
        self.encode, self.special_ids = encode, set(special_ids)
        self.decode = lambda ids: decode([i for i in ids if i not in self.special_ids])

    def case(self, text, longest=200):
        """What is expected for `text`; ids and texts beyond `longest` as a hash."""
        plain = decoded_utf8(expanded(text))
        ids = self.encode(plain)
        back = self.decode(ids)
        case = {"ids": written_ids(ids, longest)}
        if back != plain or isinstance(text, bytes):  # no "decoded" means: the text itself
            case["decoded"] = back if len(back) <= longest else {"count": len(back.encode()),
                                                                "fnv": fnv(back)}
        return case


def json_encoder(tokenizer: Tokenizer) -> Encoder:
    special = [i for i, t in tokenizer.get_added_tokens_decoder().items() if t.special]
    return Encoder(lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
                   lambda ids: tokenizer.decode(ids, skip_special_tokens=False), special)


def llama_encoder(folder: Path) -> Encoder:
    """A tokenizer.json that transformers sets up LlamaTokenizer for: the space before a text
    comes once. Where a text begins with a space itself, the file's own way counts."""
    content = json.loads((folder / "tokenizer.json").read_text())
    first = Tokenizer.from_str(json.dumps(content))
    content["normalizer"]["normalizers"].pop(0)
    later = Tokenizer.from_str(json.dumps(content))
    names = [re.escape(t["content"]) for t in content["added_tokens"]]
    llama = AutoTokenizer.from_pretrained(folder)

    def encode(text):
        ids, place = [], 0
        for part in re.split("(" + "|".join(names) + ")", text):
            ids += (later if place else first).encode(part, add_special_tokens=False).ids
            place += len(part)
        if not text.startswith(" ") and "\u2581" not in text:
            assert ids == llama(text, add_special_tokens=False).input_ids, ascii(text)
        return ids

    special = [t["id"] for t in content["added_tokens"] if t["special"]]
    return Encoder(encode, lambda ids: first.decode(ids, skip_special_tokens=False), special)


def tiktoken_encoder(path: Path, names) -> Encoder:
    ranks = {}
    for line in path.read_bytes().splitlines():
        piece, rank = line.split()
        ranks[base64.b64decode(piece)] = int(rank)
    special = {name: len(ranks) + i for i, name in enumerate(names)}
    encoding = tiktoken.Encoding("x", pat_str=LLAMA3, mergeable_ranks=ranks,
                                 special_tokens=special)
    return Encoder(lambda text: encoding.encode(text, allowed_special="all"),
                   encoding.decode, special.values())


def sentencepiece_encoder(path: Path) -> Encoder:
    """sentencepiece on what lies between special tokens; the prefix space begins the text."""
    names = {"<unk>": 0, "<s>": 1, "</s>": 2}
    first = sentencepiece.SentencePieceProcessor(model_file=str(path))
    # The last field wins: normalizer_spec { add_dummy_prefix: false }.
    later = sentencepiece.SentencePieceProcessor(
        model_proto=path.read_bytes() + b"\x1a\x02\x18\x00")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(path, Path(folder) / "tokenizer.model")
        (Path(folder) / "config.json").write_text('{"model_type": "llama"}')
        (Path(folder) / "tokenizer_config.json").write_text(
            '{"tokenizer_class": "LlamaTokenizer", "add_bos_token": false, "legacy": false}')
        llama = AutoTokenizer.from_pretrained(folder)
    differing = []

    def encode(text):
        ids = []
        for i, part in enumerate(re.split("(<unk>|<s>|</s>)", text)):
            if part in names:
                ids.append(names[part])
            elif part:
                ids += (later if i else first).encode(part)
        if ids != llama(text).input_ids:
            differing.append(text)
        return ids

    encoder = Encoder(encode, lambda ids: llama.decode(ids, skip_special_tokens=True),
                      names.values())
    encoder.differing = differing
    return encoder


def merge_patch(base, patch):
    if not isinstance(patch, dict):
        return patch
    merged = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def write_variants(byte_level, llama2_style, texts):
    rows = []
    for name, folder, patch in variants(byte_level, llama2_style):
        content = merge_patch(json.loads((folder / "tokenizer.json").read_text()), patch)
        encoder = json_encoder(Tokenizer.from_str(json.dumps(content)))
        rows.append({"name": name, "base": folder.name, "patch": patch,
                     "cases": [encoder.case(t, longest=16) for t in texts]})
    write_json(OUT / "variants.json", {"texts": [written_text(t) for t in texts],
                                       "variants": rows})


def bos_and_eos(folder: Path):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id,
            "adds_bos": tokenizer("x").input_ids[:1] == [tokenizer.bos_token_id]}


def write_expected(name, encoder, texts, specials, bos_eos):
    write_json(OUT / f"{name}.json", {
        **bos_eos, "cases": [encoder.case(t) for t in texts],
        "special_texts": specials, "special_cases": [encoder.case(t) for t in specials]})


def write_real(name, encoder, lines, specials):
    write_json(OUT / f"real_{name}.json", {
        "lines": " ".join(fnv(encoder.encode(line)) for line in lines),
        "cases": [encoder.case(t) for t in HARD],
        "special_texts": specials, "special_cases": [encoder.case(t) for t in specials]})


def write_newer_characters():
    if unicodedata.unidata_version != "14.0.0":
        print(f"newer_characters.inc is left alone: this Python has Unicode "
              f"{unicodedata.unidata_version}, and 14.0.0 is needed", file=sys.stderr)
        return
    points = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]

    def ranges(characters):
        found = []
        for c in characters:
            if found and found[-1][1] == c - 1:
                found[-1][1] = c
            else:
                found.append([c, c])
        return [f"\\x{{{a:x}}}" + (f"-\\x{{{b:x}}}" if b > a else "") for a, b in found]

    out = ["// Written by scripts/references/tokenizer_ids.py: the properties that patterns may",
           "// name, as the `tokenizers` library knows them (Unicode 16)."]
    for name in ("L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "N", "Nd", "P", "S"):
        split = pre_tokenizers.Split(Regex(rf"\p{{{name}}}"), "removed", invert=True)
        known = set()
        for start in range(0, len(points), 20000):
            chunk = "".join(map(chr, points[start:start + 20000]))
            known.update(ord(c) for piece, _ in split.pre_tokenize_str(chunk) for c in piece)
        newer = sorted(c for c in known if not unicodedata.category(chr(c)).startswith(name))
        out.append(f'{{"{name}", R"({"".join(ranges(sorted(c for c in known if c < 128)))})",')
        row = ""
        for text in ranges(newer):
            if len(row) + len(text) > 70:
                out.append(f' R"({row})"')
                row = ""
            row += text
        out.append(f' R"({row})"}},')
    (SOURCE / "newer_characters.inc").write_text("\n".join(out) + "\n")


def main():
    args = arguments(__doc__)
    write_newer_characters()
    training = corpus_lines(args.shared, 700)
    texts = corpus_lines(args.shared, 35) + HARD
    write_json(OUT / "texts.json", [written_text(t) for t in texts])

    byte_level, llama2_style = make_byte_level(training), make_llama2_style(training)
    tik, word_level = make_tiktoken(byte_level), make_word_level(training)
    spm = make_sentencepiece(training)
    llama2_names = special_texts("<s>", "</s>", "<unk>")
    llama3_texts = special_texts("<|begin_of_text|>", "<|eot_id|>",
                                 "<|reserved_special_token_2|>")
    for folder, specials in ((byte_level, llama3_texts), (llama2_style, llama2_names),
                             (word_level, llama2_names)):
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        expected = bos_and_eos(folder)
        if folder == byte_level:  # transformers reads no ids from generation_config.json
            expected["eos"] = tokenizer.token_to_id("<|eot_id|>")
        encoder = llama_encoder(folder) if folder == llama2_style else json_encoder(tokenizer)
        write_expected(folder.name, encoder, texts, specials, expected)
    # transformers 5 adds no BOS for a tokenizer.model without tokenizer_config.json; Meta's
    # own code for this file does.
    write_expected("tiktoken", tiktoken_encoder(tik / "tokenizer.model", llama3_names()), texts,
                   llama3_texts, {"bos": 640, "eos": 641, "adds_bos": True})
    encoder = sentencepiece_encoder(spm / "tokenizer.model")
    write_expected("sentencepiece", encoder, texts, llama2_names, bos_and_eos(spm))
    print(f"sentencepiece fixture: transformers differs on {encoder.differing!r:.300}")
    write_variants(byte_level, llama2_style,
                   corpus_lines(args.shared, 3) + [t for t in HARD if not isinstance(t, tuple)]
                   + ADDED_TEXTS)

    lines = corpus_lines(args.shared, 667)[:2000]
    tokenizers, stories = args.shared / "tokenizers", args.shared / "models"
    llama3 = json_encoder(Tokenizer.from_file(str(tokenizers / "llama3" / "tokenizer.json")))
    write_real("llama3_json", llama3, lines, llama3_texts)
    meta = tiktoken_encoder(tokenizers / "llama3" / "tokenizer.model", llama3_names())
    write_real("llama3_model", meta, lines, llama3_texts)
    print("llama3: tiktoken differs from tokenizers on",
          [t for t in map(decoded_utf8, map(expanded, lines + HARD + llama3_texts))
           if llama3.encode(t) != meta.encode(t)])
    tiny = json_encoder(Tokenizer.from_file(str(stories / "tinystories-656k/tokenizer.json")))
    write_real("tinystories", tiny, lines,
               special_texts("<|start_story|>", "<|end_story|>", "<unk>"))
    encoder = sentencepiece_encoder(stories / "stories260k" / "tokenizer.model")
    write_real("stories260k", encoder, lines, llama2_names)
    print(f"stories260k: transformers differs on {encoder.differing!r:.300}")


if __name__ == "__main__":
    main()
