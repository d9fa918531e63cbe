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
import io
import json
import re
import shutil
import sys
import tempfile
import unicodedata
from pathlib import Path

from _common import FIXTURES, arguments, write_json

import sentencepiece
import tiktoken
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)
from transformers import AutoTokenizer

OUT = FIXTURES / "tokenizers"
SOURCE = FIXTURES.parents[1] / "src" / "tokenizer"
CORPORA = ("tinyshakespeare.txt", "wikitext2_valid.txt", "wikitext2_test.txt")
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

HARD = [
    "", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r\n\r\n x", " \n", "\n ", "\t\n\t",
    "x" + " " * 40 + "y", " " * 100, "\n" * 30, "\t" * 17 + "z", " \t \n \r \f \v .",
    "Hello world", " Hello  world ", "Hello, y'all! How are you?", "a", "\x00", "a\x00b",
    "I'm you're he's we'd they'll I've can't", "I'M YOU'RE HE'S WE'D THEY'LL I'VE CAN'T",
    "'s 'S 't 'T 'ſ 'ſa x'ſ y'Ll 'lL", "O'Neil's ''' '' 'tis ‘quoted’ “double”",
    "1", "12", "123", "1234", "1234567890123456789", "3.14159 -2 1e10 1,000,000 ½ ² Ⅷ ৩৪ ①",
    "caf\u00e9 cafe\u0301 na\u00efve Z\u0301\u0323\u0308a\u0301", "\u0301 leading mark",
    "Führer Straße ﬁ ŉ İstanbul ΑΣ ß ẞ", "non\u00a0breaking\u00a0\u00a0space \u00a0 x",
    "mongolian\u180evowel \u180e separator", "\u3000ideographic\u3000\u3000space",
    "thin\u2009hair\u200azero\u200bwidth\u200djoin\u2060er\ufeff", "\u2028line\u2029para",
    "\u0085next\u0085\u0085line", "\x1c\x1d\x1e\x1f separators", "\u1680ogham \u202f\u205f.",
    "😀😃 🏳️‍🌈 👨‍👩‍👧‍👦 👍🏽 🇩🇪🇫🇷 ☃️ 1️⃣ ❤️‍🔥", "🫠🪿🫎 new emoji 🫩", "🚀" * 20,
    "你好，世界！今天天气很好。", "日本語のテキスト、カタカナ。ﾊﾝｶｸ", "한국어 텍스트 입니다",
    "مرحبا بالعالم، كيف حالك؟ ١٢٣", "שלום עולם", "สวัสดีชาวโลก", "नमस्ते दुनिया", "ខ្មែរ",
    "Привет, мир! ЁЖ", "Ελληνικά γράμματα", "Việt Nam tiếng", "ⴰⵎⴰⵣⵉⵖ ᚠᛇᚻ 𐍈 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛𝟜",
    # Letters and digits of Unicode 15 and 16, and a code point that none has assigned.
    "a\u1c89b \U00010d4a\U00010d65 \U00010d40\U00010d41\U00010d42\U00010d43 \U00031350x "
    "\U000105c0\U000105c1 \U0001e030a \U0001ccf0\U0001ccf1 \u0378",
    "def f(x):\n    return x**2  # comment\n\n\tif (a && b) { c->d(); }\r\n",
    "<html><body class=\"x\">&amp;</body></html> http://a.b/c?d=e&f=%20#g user@host.org",
    "!!!??? ... --- === *** ///\\\\ {}[]() $€£¥ §¶ ©®™ ±≠≤ ←→", "snake_case camelCase kebab-x",
    "\u2581 meta\u2581space \u2581\u2581", "<0x0A> <0xFF> <0x> literal", "\ufffd \uffff \U0010ffff",
    b"\xff\xfe", b"ok \x80 \xc3 \xc3( \xe2\x82 x", b"\xe2\x82", b"\xf0\x9f\x98", b"\xf0\x9f\x98(",
    b"\xed\xa0\x80 surrogate", b"\xc0\xaf overlong \xe0\x80\xaf", b"\xf4\x90\x80\x80 \xf8\x88",
    b"a\xf0\x90\x28\xbcb\xe1\x80\xe2\x80", ("a", 10000), (" ", 3000), ("ab ", 2000),
    ("é", 1500), ("\n", 1500), ("12", 1500),
]
# The names of the special tokens are put in for {bos}, {eos} and {unk}.
SPECIAL = ["{bos}", "{eos}", "{bos}Hello{eos}", " {bos} Hello {eos} world", "x{eos}{eos}\n y",
           "a{unk}b {unk} c", "{bos", "{{eos}}"]


def decoded_utf8(text) -> str:
    return text.decode("utf-8", errors="replace") if isinstance(text, bytes) else text


def expanded(text):
    return text[0] * text[1] if isinstance(text, tuple) else text


def special_texts(bos, eos, unk):
    return [t.replace("{bos}", bos).replace("{eos}", eos).replace("{unk}", unk)
            for t in SPECIAL]


def written_text(text):
    if isinstance(text, bytes):
        return {"base64": base64.b64encode(text).decode()}
    if isinstance(text, tuple):
        return {"repeat": text[0], "count": text[1]}
    return text


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


def corpus_lines(shared: Path, count: int):
    """`count` lines of each corpus, evenly spread over those that are not blank."""
    lines = []
    for name in CORPORA:
        text = (shared / "data" / "corpora" / name).read_bytes().decode("utf-8")
        full = [line for line in text.split("\n") if line.strip(" \t\r")]
        lines += full[:: len(full) // count][:count]
    return lines


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


def llama3_names():
    """Llama 3.1's special tokens in the order of their ids."""
    fixed = {0: "<|begin_of_text|>", 1: "<|end_of_text|>", 4: "<|finetune_right_pad_id|>",
             6: "<|start_header_id|>", 7: "<|end_header_id|>", 8: "<|eom_id|>",
             9: "<|eot_id|>", 10: "<|python_tag|>"}
    reserved = iter(range(256))
    return [fixed.get(i) or f"<|reserved_special_token_{next(reserved)}|>" for i in range(256)]


def write_folder(name: str, tokenizer_config: dict, **extra) -> Path:
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in {"tokenizer_config": tokenizer_config, **extra}.items():
        (folder / f"{file}.json").write_text(json.dumps(content, indent=1) + "\n")
    return folder


def model_config(**ids):
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **ids}


def make_byte_level(lines) -> Path:
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=640, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_special_tokens(llama3_names()[:16])
    bos = "<|begin_of_text|>"
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos} $B",
                                      special_tokens=[(bos, tokenizer.token_to_id(bos))])])
    eos = tokenizer.token_to_id("<|eot_id|>")
    folder = write_folder(
        "byte_level",
        {"bos_token": bos, "clean_up_tokenization_spaces": True,
         "tokenizer_class": "PreTrainedTokenizerFast"},
        generation_config={"eos_token_id": [eos, 641]},
        config=model_config(bos_token_id=640, eos_token_id=641))
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    return folder


def make_tiktoken(byte_level: Path) -> Path:
    """The same vocabulary: ids of tokenizers' byte-level BPE are in the order of merges."""
    vocab = json.loads((byte_level / "tokenizer.json").read_text())["model"]["vocab"]
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    byte = {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}
    lines = [f"{base64.b64encode(bytes(byte[c] for c in piece)).decode()} {rank}\n"
             for piece, rank in sorted(vocab.items(), key=lambda item: item[1])]
    folder = OUT / "tiktoken"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_text("".join(lines))
    return folder


def make_llama2_style(lines) -> Path:
    names = ["<unk>", "<s>", "</s>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=620, show_progress=False, limit_alphabet=70,
        special_tokens=names + [f"<0x{b:02X}>" for b in range(256)]))
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [
        {"id": i, "content": name, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True} for i, name in enumerate(names)]
    content["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    content["pre_tokenizer"] = None
    content["post_processor"] = json.loads(processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]).__getstate__())
    content["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    content["model"]["byte_fallback"] = True
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    folder = write_folder(
        "llama2_style",
        {"bos_token": {"__type": "AddedToken", "content": "<s>"}, "eos_token": "</s>",
         "unk_token": "<unk>", "add_bos_token": True, "legacy": False,
         "tokenizer_class": "LlamaTokenizer"},
        config=model_config(bos_token_id=1, eos_token_id=2))
    (folder / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False))
    return folder


def make_word_level(lines) -> Path:
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.train_from_iterator(lines, trainers.WordLevelTrainer(
        vocab_size=200, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"]))
    folder = write_folder("word_level", {"bos_token": "<s>", "eos_token": "</s>",
                                         "tokenizer_class": "PreTrainedTokenizerFast"},
                          config=model_config(bos_token_id=1, eos_token_id=2))
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    return folder


def make_sentencepiece(lines) -> Path:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, model_type="bpe", vocab_size=500,
        byte_fallback=True, character_coverage=0.998, split_digits=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, num_threads=1, minloglevel=2)
    folder = write_folder("sentencepiece",
                          {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>",
                           "eos_token": "</s>", "add_bos_token": True, "legacy": False},
                          config=model_config())
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    return folder


def added(first_id, *tokens):
    """Entries of added_tokens: (content, flags that are true...)."""
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return [{"id": first_id + i, "content": content, **{f: f in true for f in flags}}
            for i, (content, *true) in enumerate(tokens)]


def variants(byte_level: Path, llama2_style: Path):
    """(name, base folder, JSON merge patch of its tokenizer.json)"""
    bytes_only = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": False}

    def split(pattern, behavior="Isolated", invert=False):
        return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}

    def sequence(*steps):
        return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [*steps, bytes_only]}}

    gpt4o = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
             r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
             r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}|"
             r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    smol = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
            "use_regex": True}
    yield "gpt2", byte_level, {"pre_tokenizer": smol, "model": {"ignore_merges": False}}
    yield "gpt2_prefix_space", byte_level, {"pre_tokenizer": {
        "type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}}
    yield "gpt4o", byte_level, sequence(split({"Regex": gpt4o}))
    yield "deepseek", byte_level, sequence(
        split({"Regex": r"[\r\n]"}), split({"Regex": r"\s?\p{L}+"}), split({"Regex": r"\s?\p{P}+"}),
        split({"Regex": "[一-龥ࠀ-一가-퟿]+"}), {"type": "Digits", "individual_digits": True})
    yield "digit_runs", byte_level, sequence({"type": "Digits", "individual_digits": False})
    yield "smollm", byte_level, {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True}, smol]}}
    yield "removed_inverted", byte_level, sequence(split({"Regex": LLAMA3}, "Removed", True))
    yield "removed", byte_level, sequence(split({"String": "a."}, "Removed"),
                                          split({"String": " "}, "Removed"))
    yield "lines", byte_level, sequence(split({"Regex": r"^\S+|\S+$|(?<=\d)\D|x{2,}|a{|,*"}))
    yield "whole", byte_level, {"pre_tokenizer": bytes_only}
    yield "symbols", byte_level, sequence(split({"Regex": r"\p{S}+|\p{M}+|\P{L}|\p{Nd}"}))
    tokens = added(640, ("<a>",), ("<ab>", "special"), ("<a><b>",), ("word", "single_word"),
                   ("<l>", "lstrip"), ("<r>", "rstrip"), ("<lr>", "lstrip", "rstrip"),
                   ("  ",), ("é x",), ("été", "normalized"))
    yield "added_tokens", byte_level, {"added_tokens": tokens}

    def metaspace(scheme, cut):
        return {"normalizer": None, "pre_tokenizer": {
            "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cut}}

    decoder = {"decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always",
                           "split": True}}
    yield "metaspace_first", llama2_style, metaspace("first", False)
    yield "metaspace_always", llama2_style, metaspace("always", True) | decoder
    yield "metaspace_never", llama2_style, metaspace("never", True)
    yield "unknown_fused", llama2_style, {"model": {"byte_fallback": False}}
    yield "unknown_single", llama2_style, {"model": {"byte_fallback": False,
                                                     "fuse_unk": False}}
    yield "unknown_dropped", llama2_style, {"model": {"byte_fallback": False,
                                                      "unk_token": None}}
    yield "no_decoder", llama2_style, {"decoder": None}
    names = added(0, ("<unk>", "normalized", "special"), ("<s>", "normalized", "special"),
                  ("</s>", "special"), ) + added(620, ("<a>", "normalized"))
    yield "normalized_tokens", llama2_style, {"added_tokens": names}
    yield "whitespace", OUT / "word_level", {"pre_tokenizer": {"type": "Whitespace"}}


ADDED_TEXTS = ["a<a>b", "<a><b><ab>", "a word swordfish word. (word) wordé _word",
               "x  <l>  y", "x  <r>  y", "x  <lr>  <lr> \n\u00a0\u3000<l>y", "    ", "  <r>  ",
               "é x été été", " <a> <s> </s> <unk>", "<s><s> <s>", "<a>", "a</s> <a><a>"]


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
        write_expected(folder.name, json_encoder(tokenizer), texts, specials, expected)
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
