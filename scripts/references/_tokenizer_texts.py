"""The texts that tokenizer_ids.py encodes, and how its files write them."""

import base64
from pathlib import Path

CORPORA = ("tinyshakespeare.txt", "wikitext2_valid.txt", "wikitext2_test.txt")

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


ADDED_TEXTS = ["a<a>b", "<a><b><ab>", "a word swordfish word. (word) wordé _word",
               "x  <l>  y", "x  <r>  y", "x  <lr>  <lr> \n\u00a0\u3000<l>y", "    ", "  <r>  ",
               "é x été été", " <a> <s> </s> <unk>", "<s><s> <s>", "<a>", "a</s> <a><a>",
               "<|im_start|>user\nHi, e\u0301!<|im_end|>\n<|im_start|>assistant\n12",
               "<tool_call>\n{}\n</tool_call><|endoftext|>", "[INST] Hi  you [/INST] x</s>",
               "<|user|>\nHi<|end|>\n<|assistant|>  \n Hello <|end|>"]


def corpus_lines(shared: Path, count: int):
    """`count` lines of each corpus, evenly spread over those that are not blank."""
    lines = []
    for name in CORPORA:
        text = (shared / "data" / "corpora" / name).read_bytes().decode("utf-8")
        full = [line for line in text.split("\n") if line.strip(" \t\r")]
        lines += full[:: len(full) // count][:count]
    return lines
