#!/usr/bin/env python3
"""Chat templates as transformers renders them, and small pieces of Jinja as jinja2 does.

    python scripts/references/templates.py     # writes tests/fixtures/templates/*.json

The templates are tests/fixtures/templates/*.jinja: of the structure of published ones, in
other words. They are rendered by `apply_chat_template` over CHATS, on a day that is fixed,
with a small tokenizer that has their special tokens (tokenizer.json beside them, made of
tests/fixtures/tokenizers/byte_level) and with ../shared/tokenizers/llama3 where it is there.

templates.json: {"date", "special": {name: token}, "chats": [row],
    "cases": {template: [null where it refuses the row, or
        {"text" or "text_hash", "ids_hash", "llama3_hash",
         "learned": [[begin, end]] in tokens, or null where the row cannot be learned}]}}
snippets.json: [{"source", "text" or null for an error}], over the variables VARIABLES

Hashes are FNV-1a, of UTF-8 or of ids as 32 bits each. `learned` is the assistant mask of
transformers where the template has `generation` blocks, and otherwise what
`difference()` says.
"""

import datetime
import json
import struct

from _common import FIXTURES, arguments, write_json

import transformers.utils.chat_template_utils as template_utils
from transformers import PreTrainedTokenizerFast

FOLDER = FIXTURES / "templates"
DATE = (2026, 3, 5)
KEPT = 5  # chats whose texts are kept whole

SPECIAL = [
    "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|im_sep|>", "[INST]", "[/INST]",
    "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "<start_of_turn>",
    "<end_of_turn>", "<|start_of_role|>", "<|end_of_role|>", "<|end|>", "<|endoftext|>",
    "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>",
    "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>", "<｜User｜>", "<｜Assistant｜>",
    "<｜end▁of▁sentence｜>",
]
PLAIN = ["<think>", "</think>", "<tool_call>", "</tool_call>"]  # added, not special

TOOL = {"type": "function", "function": {
    "name": "weather", "description": "The weather at a place, \"now\" <or> later.",
    "parameters": {"type": "object", "properties": {
        "place": {"type": "string", "description": "Town & country"},
        "days": {"type": "integer", "enum": [1, 3, 7]},
        "units": {"type": ["string", "null"]}, "spots": {"type": "array", "items": {"type": "number"}}},
        "required": ["place"]}}}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {}}}


def chat(*contents, system=None, **more):
    turns = [] if system is None else [{"role": "system", "content": system}]
    roles = ("user", "assistant")
    turns += [{"role": roles[i % 2], "content": c} for i, c in enumerate(contents)]
    return {"messages": turns, **more}


def call(name, arguments, number="abc123XYZ"):
    return {"id": number, "type": "function", "function": {"name": name, "arguments": arguments}}


CHATS = [
    chat("What is the capital of France?", "Paris."),
    chat("Two and two?", "Four.", "And four?", "Eight, of course.",
         system="You are a careful teacher."),
    chat("  Blanks at both ends \n", "\n\n Kept where they are kept.  "),
    {"messages": [{"role": "user", "content": "Weather in Ulm?"},
                  {"role": "assistant", "content": "", "tool_calls": [call("weather", {"place": "Ulm", "days": 3})]},
                  {"role": "tool", "name": "weather", "tool_call_id": "abc123XYZ", "content": "{\"sky\": \"grey\"}"},
                  {"role": "assistant", "content": "Grey."}], "tools": [TOOL]},
    chat("Hi", "<think>\nA greeting.\n</think>\n\nHello!", "Again", "<think>\nOnce more.\n</think>\n\nHello again!"),
    chat("Say nothing.", ".", system=""),
    chat("Write a list.", "- one\n- two\n\n- three\n", "Thanks!"),
    chat("Écris «été» et 東京 😀", "été, 東京 😀 — ça va ?", system="Réponds."),
    chat("def f(x):\n    return {'a': [x, \"b\"]}", "```python\ndef f(x):\n\treturn x  # {{ x }} {% if %}\n```"),
    chat("Half <|im_", "and start|> half"),
    chat("one", "1", "two", "2", "three", "3", "four", "4", "five", "5", "six", "6", system="Count."),
    chat("x" * 300, "y" * 200),
    chat("A\r\nB\rC\tD", "E\u00a0F\u2028G"),
    chat("a", "b", system="  padded system  \n"),
    chat("\n", "x"),
    chat("Hello", "World", "", "Empty asked."),
    {"messages": [{"role": "assistant", "content": "I begin."}, {"role": "user", "content": "So?"},
                  {"role": "assistant", "content": "So."}]},
    {"messages": [{"role": "user", "content": "Once."}, {"role": "user", "content": "Twice."},
                  {"role": "assistant", "content": "Heard."}]},
    {"messages": [{"role": "system", "content": "S1"}, {"role": "user", "content": "u"},
                  {"role": "system", "content": "S2"}, {"role": "assistant", "content": "a"}]},
    chat("Read.", "Done.", documents=[{"title": "One", "text": "First text."}, {"text": "No title."}]),
    chat("Time?", "Late.", tools=[TOOL, CLOCK], system="Use tools."),
    chat("Time?", "Late.", tools=[CLOCK]),
    {"messages": [{"role": "user", "content": "Both?"},
                  {"role": "assistant", "content": "Let me see.", "tool_calls": [
                      call("weather", {"place": "Köln \"&<>'", "deep": {"a": [1, 2.5, None, True, 1e20]}}),
                      call("clock", {}, "def456UVW")]},
                  {"role": "tool", "tool_call_id": "abc123XYZ", "content": "sun"},
                  {"role": "tool", "tool_call_id": "def456UVW", "content": "12:00"},
                  {"role": "assistant", "content": "Sun at noon."}], "tools": [TOOL, CLOCK]},
    {"messages": [{"role": "user", "content": "Think."},
                  {"role": "assistant", "reasoning_content": "Hm.\n", "content": "Thought."}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "Parts "}, {"type": "text", "text": "of it"}]},
                  {"role": "assistant", "content": [{"type": "text", "text": "Whole."}]}]},
    {"messages": [{"role": "user", "name": "Ann", "content": "I am Ann."},
                  {"role": "assistant", "content": "Hello Ann."}]},
    chat("What does /no_think do?", "Little.", system="Be quick. /no_think"),
    {"messages": [{"role": "user", "content": "Call"}, {"role": "assistant", "content": None,
                   "tool_calls": [call("clock", {})]}], "tools": [CLOCK]},
    chat("<tool_response>\nfake\n</tool_response>", "Not a result.", "ok", "fine"),
    chat("ΑΣ ΟΔΟΣ ǅ ß ŉ", "İ ﬁ 𐐀 ẞ", system="Ünïcode \u200b\ufeff here"),
]


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def ids_hash(ids):
    return fnv(struct.pack(f"<{len(ids)}i", *ids))


class Today(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(*DATE)


def make_tokenizer():
    """byte_level's tokenizer with the templates' special tokens; written to FOLDER."""
    model = json.loads((FIXTURES / "tokenizers/byte_level/tokenizer.json").read_text())
    known = {token["content"] for token in model["added_tokens"]}
    number = max([token["id"] for token in model["added_tokens"]] + list(model["model"]["vocab"].values())) + 1
    for token in SPECIAL + PLAIN:
        if token in known:
            continue
        model["added_tokens"].append({
            "id": number, "content": token, "single_word": False, "lstrip": False,
            "rstrip": False, "normalized": False, "special": token in SPECIAL})
        number += 1
    model["post_processor"] = None  # its BOS is another
    (FOLDER / "tokenizer.json").write_text(json.dumps(model, ensure_ascii=False) + "\n")
    (FOLDER / "tokenizer_config.json").write_text(json.dumps(NAMES) + "\n")
    return PreTrainedTokenizerFast(tokenizer_file=str(FOLDER / "tokenizer.json"), **NAMES,
                                   clean_up_tokenization_spaces=False)


NAMES = {"bos_token": "<s>", "eos_token": "</s>"}
LLAMA3_NAMES = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}


def common(a, b):
    for i, (x, y) in enumerate(zip(a, b)):
        if x != y:
            return i
    return min(len(a), len(b))


def texts_of(turn):
    content = turn["content"]
    if content is None:
        return []
    return [content] if isinstance(content, str) else [part["text"] for part in content]


def loses(render, row):
    """Whether the text lacks what a turn says (but for a switch in a system turn) or calls."""
    messages = row["messages"]
    whole = render(messages, False)
    for turn in messages:
        for text in texts_of(turn):
            switched = text if turn["role"] == "assistant" else text.replace("/no_think", "")
            if text.strip() not in whole and switched.strip() not in whole:
                return True
    if not any("tool_calls" in turn for turn in messages):
        return False
    without = [{k: v for k, v in turn.items() if k != "tool_calls"} for turn in messages]
    try:
        return render(without, False) == whole
    except Exception:
        return False  # the template cannot do without them


def difference(render, tokenizer, row):
    """[[begin, end]] in tokens of what the assistant says, by two renderings a turn: what
    the one that ends with the turn has more than the one that prompts for it, without
    white space behind the turn's last special token. None where the two do not begin
    alike."""
    messages = row["messages"]
    whole = render(messages, False)
    encoding = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    offsets = encoding["offset_mapping"]
    added = set(tokenizer.get_added_vocab().values())
    learned = []
    for i, turn in enumerate(messages):
        if turn["role"] != "assistant":
            continue
        if i == 0:  # nothing prompts for it: its own words
            begin = whole.index(texts_of(turn)[0].strip())
            prompt = whole[:begin]
        else:
            prompt = render(messages[:i], True)
            begin = len(prompt)
        after = render(messages[:i + 1], False)
        end = common(after, whole)
        if common(prompt, whole) < begin or end < begin:
            return None
        said = [text.strip() for text in texts_of(turn) if text.strip()]
        if said and end < after.rfind(said[-1]) + len(said[-1]):
            return None
        last = max([stop for (start, stop), token in zip(offsets, encoding["input_ids"])
                    if token in added and start >= begin and stop <= end], default=None)
        if last is not None and (not whole[last:end].strip() or end < len(after)):
            end = last
        elif end < len(after):
            return None
        learned.append([encoding.char_to_token(begin),
                        encoding.char_to_token(end - 1) + 1])
    return learned


def case_of(template, tokenizer, llama3, row, keeps_text):
    more = {key: row[key] for key in ("tools", "documents") if key in row}

    def render(messages, prompt, by=tokenizer, **options):
        return by.apply_chat_template(messages, chat_template=template,
                                      add_generation_prompt=prompt, **more,
                                      **{"tokenize": False, **options})
    try:
        text = render(row["messages"], False)
    except Exception:
        return None
    ids = render(row["messages"], False, tokenize=True, return_dict=False)
    case = {"text": text} if keeps_text else {"text_hash": fnv(text.encode())}
    case["ids_hash"] = ids_hash(ids)
    if llama3:
        case["llama3_hash"] = ids_hash(render(row["messages"], False, llama3, tokenize=True,
                                              return_dict=False))
    if loses(render, row):
        case["learned"] = None
    elif "generation %}" in template:
        mask = render(row["messages"], False, tokenize=True, return_dict=True,
                      return_assistant_tokens_mask=True)["assistant_masks"]
        learned = []
        for i, said in enumerate(mask):
            if said and (i == 0 or not mask[i - 1]):
                learned.append([i, i])
            if said:
                learned[-1][1] = i + 1
        case["learned"] = learned
    else:
        try:
            case["learned"] = difference(render, tokenizer, row)
        except Exception:
            case["learned"] = None
    return case


VARIABLES = {
    "n": 7, "f": 2.5, "yes": True, "nothing": None, "word": "hello World", "empty": "",
    "list": [3, 1, 2], "words": ["b", "A", "c"], "uni": "straße ÉÀ 東京 😀",
    "map": {"b": 1, "a": {"c": [1, {"d": "x"}]}, "items": "own"}, "lines": "one\n\n  two\nthree\n",
    "people": [{"name": "Ann", "age": 30}, {"name": "bob", "age": 25}, {"name": "Cy"}],
    "quote": "it's \"so\" \\ <b>&\n",
}


def main():
    args = arguments(__doc__)
    template_utils.datetime = Today
    tokenizer = make_tokenizer()
    real = args.shared / "tokenizers" / "llama3" / "tokenizer.json"
    llama3 = PreTrainedTokenizerFast(tokenizer_file=str(real), **LLAMA3_NAMES,
                                     clean_up_tokenization_spaces=False) if real.exists() else None
    out = FOLDER / "templates.json"
    cases = {}
    for path in sorted(FOLDER.glob("*.jinja")):
        template = path.read_text()
        cases[path.stem] = [case_of(template, tokenizer, llama3, row, i < KEPT)
                            for i, row in enumerate(CHATS)]
    write_json(out, {"date": list(DATE), "special": NAMES, "chats": CHATS, "cases": cases})

    snippets = []
    for source in (FOLDER / "snippets.txt").read_text().split("\n----\n"):
        source = source.rstrip("\n") if source.endswith("\n") else source
        try:
            text = template_utils._compile_jinja_template(source).render(**VARIABLES)
        except Exception:
            text = None
        snippets.append({"source": source, "text": text})
    write_json(FOLDER / "snippets.json", {"variables": VARIABLES, "snippets": snippets})


if __name__ == "__main__":
    main()
