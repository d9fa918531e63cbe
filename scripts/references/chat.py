#!/usr/bin/env python3
"""Chats as transformers' apply_chat_template writes them, and what of them is learned.

    python scripts/references/chat.py          # writes tests/fixtures/chat/chat.json

The templates are the formats that Meta and TinyLlama document for their models, with
`generation` around what the assistant says and the token that ends its turn, so that
transformers marks those tokens. They run on the small tokenizers of
tests/fixtures/tokenizers, and llama3 on ../shared/tokenizers/llama3 where it is there.

    {"chats": [[{"role", "content"}]],
     "cases": [{"tokenizer", "template", "chats": [index], "ids": [[..]], "learned": [[..]]}],
     "plain": [{"tokenizer", "texts": [..], "ids": [[..]]}]}

`learned` holds, for each chat, the numbers of the learned tokens. `plain` is what the
`tokenizers` library makes of texts that spell special tokens when these are text to it.
"""

import json

from _common import FIXTURES, arguments, write_json

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

TOKENIZERS = FIXTURES / "tokenizers"

LLAMA2 = """\
{%- set first = 1 if messages[0].role == 'system' else 0 -%}
{%- for turn in messages[first:] -%}
{%- if turn.role == 'user' -%}
{%- set ask = turn.content -%}
{%- if loop.first and first -%}
{%- set ask = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' + ask -%}
{%- endif -%}
{{- bos_token + '[INST] ' + ask.strip() + ' [/INST]' -}}
{%- else -%}
{%- generation -%}{{- ' ' + turn.content.strip() + ' ' + eos_token -}}{%- endgeneration -%}
{%- endif -%}
{%- endfor -%}"""

LLAMA3 = """\
{{- bos_token -}}
{%- for turn in messages -%}
{{- '<|start_header_id|>' + turn.role + '<|end_header_id|>\\n\\n' -}}
{%- if turn.role == 'assistant' -%}
{%- generation -%}{{- turn.content.strip() + '<|eot_id|>' -}}{%- endgeneration -%}
{%- else -%}
{{- turn.content.strip() + '<|eot_id|>' -}}
{%- endif -%}
{%- endfor -%}"""

TINYLLAMA = """\
{%- for turn in messages -%}
{{- '<|' + turn.role + '|>\\n' -}}
{%- if turn.role == 'assistant' -%}
{%- generation -%}{{- turn.content + eos_token -}}{%- endgeneration -%}
{%- else -%}
{{- turn.content + eos_token -}}
{%- endif -%}
{{- '\\n' -}}
{%- endfor -%}"""


def chat(*contents, system=None):
    """Turns of user and assistant, beginning with the user."""
    turns = [] if system is None else [{"role": "system", "content": system}]
    roles = ("user", "assistant")
    return turns + [{"role": roles[i % 2], "content": c} for i, c in enumerate(contents)]


CHATS = [
    chat("What is the capital of France?", "Paris."),
    chat("Two and two?", "Four.", "And four?", "Eight, of course.",
         system="You are a careful teacher. Answer in one sentence."),
    chat("  White space at both ends \n", "\n\n Kept where the template keeps it.  "),
    chat("Write a list.", "- one\n- two\n\n- three\n", "Thanks!"),
    chat("Écris «été» et 東京 😀", "été, 東京 😀", system="Réponds."),
    chat("x" * 40, "1234567 8.9\t\tend", "[INST] not an instruction [/INST]", "<<SYS>> no"),
    chat("def f(x):\n    return x", "    indented first line\n\tthen a tab"),
    chat("Say nothing.", ".", system=""),
]
# Orders that only templates of free turns have.
FREE = [
    [{"role": "assistant", "content": "Hello, I begin."}, {"role": "user", "content": "Hi."},
     {"role": "user", "content": "Twice."}, {"role": "assistant", "content": "So I see."},
     {"role": "system", "content": "Late."}, {"role": "assistant", "content": "Yes."}],
]

SPELT = ["</s>", "a</s>b", "<s> <s>", "one <|eot_id|> two", "<|start_header_id|>system",
         "<|begin_of_text|>", "<unk> and </s>\n", "x<|end_header_id|>\n\nNo", "[INST]</s>"]


def marked(tokenizer, template, turns):
    """Ids, and the numbers of the tokens that the assistant says."""
    out = tokenizer.apply_chat_template(
        turns, chat_template=template, return_dict=True, return_assistant_tokens_mask=True)
    ids, mask = out["input_ids"], out["assistant_masks"]
    assert len(ids) == len(mask)
    return ids, [i for i, said in enumerate(mask) if said]


def case(name, tokenizer, template_name, template, chats, numbers):
    both = [marked(tokenizer, template, chats[n]) for n in numbers]
    return {"tokenizer": name, "template": template_name, "chats": numbers,
            "ids": [ids for ids, _ in both], "learned": [learned for _, learned in both]}


def raw(folder, bos="<|begin_of_text|>", eos="<|eot_id|>"):
    """tokenizer.json as it stands, whatever class tokenizer_config.json names."""
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), bos_token=bos, eos_token=eos,
        clean_up_tokenization_spaces=False)


def main():
    args = arguments(__doc__)
    chats = CHATS + FREE
    alternating, every = list(range(len(CHATS))), list(range(len(chats)))
    cases, plain = [], []
    for name, tokenizer in (
            ("llama2_style", AutoTokenizer.from_pretrained(TOKENIZERS / "llama2_style")),
            ("sentencepiece", AutoTokenizer.from_pretrained(TOKENIZERS / "sentencepiece"))):
        cases.append(case(name, tokenizer, "llama2", LLAMA2, chats, alternating))
        cases.append(case(name, tokenizer, "tinyllama", TINYLLAMA, chats, every))
    cases.append(case("byte_level", raw(TOKENIZERS / "byte_level"), "llama3", LLAMA3, chats,
                      every))
    real = args.shared / "tokenizers" / "llama3"
    out = FIXTURES / "chat" / "chat.json"
    if real.exists():
        cases.append(case("shared:tokenizers/llama3", raw(real), "llama3", LLAMA3, chats,
                          every))
    elif out.exists():
        cases += [c for c in json.loads(out.read_text())["cases"]
                  if c["tokenizer"].startswith("shared:")]

    for name in ("llama2_style", "byte_level"):
        tokenizer = Tokenizer.from_file(str(TOKENIZERS / name / "tokenizer.json"))
        tokenizer.encode_special_tokens = True
        plain.append({"tokenizer": name, "texts": SPELT,
                      "ids": [tokenizer.encode(t, add_special_tokens=False).ids
                              for t in SPELT]})
    write_json(out, {"chats": chats, "cases": cases, "plain": plain})


if __name__ == "__main__":
    main()
