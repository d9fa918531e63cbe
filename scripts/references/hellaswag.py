#!/usr/bin/env python3
"""HellaSwag as lm-evaluation-harness scores it, and the training text of its rows.

    python scripts/references/hellaswag.py     # writes tests/fixtures/hellaswag

The harness runs its own `hellaswag` task (its process_docs, its request building, its acc
and acc_norm); only the rows come from a local file instead of the Hub. Two models: a tiny
one made here, with its own byte-level tokenizer and rows that try what real ones rarely
contain, and ../shared/models/tinystories-656k on 200 real validation rows. Its tokenizer is
the `tokenizers` library on the folder's tokenizer.json: the LlamaTokenizer class of
transformers 5 rebuilds it without the unknown token and drops characters that are not in
the vocabulary. The parts that need ../shared are left as they are where it is missing.
"""

import contextlib
import io
import json
import logging
import shutil
from pathlib import Path

from _common import FIXTURES, arguments, read_jsonl, rounded, write_json, write_jsonl

import datasets
import lm_eval
import tokenizers
import torch
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks.hellaswag.utils import process_docs
from lm_eval.utils import load_yaml_config
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from models import CLASSIC, random_weights, save, write_config

HELLASWAG = FIXTURES / "hellaswag"
TINY = HELLASWAG / "tiny"
BOS, EOS = "<|bos|>", "<|eos|>"

ENDINGS = ["sits down on the bench.", "jumps over the small fence.",
           "paints a wall.", "reads the paper, then folds it and leaves."]


def row(ind, label, activity, ctx_a, ctx_b, endings=ENDINGS, ctx=None):
    """A row of the official schema, its ctx built as the dataset's is."""
    ctx = f"{ctx_a} {ctx_b}".rstrip() if ctx is None else ctx
    return {"ind": ind, "activity_label": activity, "ctx_a": ctx_a, "ctx_b": ctx_b,
            "ctx": ctx, "label": label, "endings": list(endings)}


def bare(ind, label, activity, ctx, endings=ENDINGS):
    """A row without ctx_a and ctx_b."""
    return {"ind": ind, "activity_label": activity, "ctx": ctx, "label": label,
            "endings": list(endings)}


# Each row is about one thing; the tests name them by `ind`.
ROWS = [
    row(0, 0, "Playing chess", "Two men sit at a table with a chess board.", "one man"),
    row(1, 3, "Washing a dog", "A woman fills a tub with water.", "the DOG in the tub"),
    row(2, 1, "", "A boy runs across the yard.", "he"),
    row(3, 2, "", "A boy runs across the yard. He stops at the gate.", ""),
    row(4, "2", "Cutting grass", "A man pushes a mower up a hill.", "he"),
    row(5, "0", "Personal care", "[header] How to brush hair [title] Start at the ends. "
        "[step] Hold the hair with one hand.", "",
        ["[substeps] Brush down slowly.", "Brush up [title] Do it again.",
         "Cut it [step] all off.", "Wash it."]),
    row(6, 1, "Baking", "A cook  mixes  flour   and    water.", "the  cook"),
    row(7, 3, "Running", "  A runner ties her shoes. ", " she "),
    row(8, 0, "Sailing", "A boat leaves the harbour [breath] slowly", "[noise]"),
    row(9, 2, "Climbing", "They climb [and rest] then climb [again] until they see", "[title]"),
    row(10, 1, "Juggling", "A clown throws [three balls.", "he catches] them"),
    row(11, 3, "Café", "Un garçon apporte le thé à la table n° 7 – “merci” – 東京 😀.", "él",
        ["s’assied près de la fenêtre.", "仰望天空。", "boit son thé 😀😀😀.", "part."]),
    row(12, 0, "Skiing", "A skier waits at the top.", "Then", [", the skier goes down.",
        ", people clap.", ", he falls 3 times in 12.5 seconds!", ", it snows."]),
    row(13, 2, "Fishing", "An old man sits by a lake.", "he",
        ["waits.", "waits..", "  waits and waits.  ", "sleeps  on  the  grass ."]),
    row(14, 1, "Equal endings", "The same words follow.", "so",
        ["they go home.", "they go home.", "they go home.", "they go home."]),
    row(15, 3, "Ironing\tclothes", "A line\nbreak and a\ttab are here.", "the\nman"),
    row(16, 2, "Drumming", "He'll play, she's singing, they're dancing.", "i'd say they've"),
    bare(17, 1, "Sewing", "A girl threads a needle. the girl"),
    bare(18, "3", "", "A girl threads a needle. She looks up."),
    bare(19, 0, "Home and Garden", "[header] How to fix a door [title] Find the "
         "cause. [step] Look at the hinges."),
    bare(20, 2, "Rowing", "  The team carries the boat.  they "),
    row(21, 0, "Trailing space in ctx", "A bus stops.", "People", ctx="A bus stops. People  "),
    row(22, 3, "Long", "The train leaves the station and passes a farm, a river, a bridge, "
        "a field with cows, a small town and a factory before the sun sets. " * 2, "the train",
        ["stops.", "goes on through the night, past more farms and more rivers, and nobody "
         "on board says a word until the morning comes.", "turns round and goes back.",
         "is late, as it is each day of the week but Sunday."]),
    row(23, 1, "Nested", "She writes [a [b] c] on the board  [title]  and turns.", "she"),
]


def write_tiny_model() -> None:
    """Byte-level BPE in the manner of Llama-3, learnt from the rows, and random weights."""
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
               r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated"),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    bpe.decoder = tokenizers.decoders.ByteLevel()
    corpus = [text for r in ROWS for text in (r["activity_label"], r["ctx"], *r["endings"])]
    bpe.train_from_iterator(corpus, tokenizers.trainers.BpeTrainer(
        vocab_size=318, show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()))
    bpe.add_special_tokens([BOS, EOS])
    bos, eos = bpe.token_to_id(BOS), bpe.token_to_id(EOS)
    bpe.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, bos)])
    bpe.save(str(TINY / "tokenizer.json"))
    text = json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS,
                       "eos_token": EOS, "clean_up_tokenization_spaces": False}, indent=2)
    (TINY / "tokenizer_config.json").write_text(text + "\n")

    write_config(TINY, CLASSIC | {
        "bos_token_id": bos, "eos_token_id": eos, "hidden_size": 24, "intermediate_size": 48,
        "num_attention_heads": 4, "num_hidden_layers": 1, "num_key_value_heads": 2,
        "tie_word_embeddings": True, "vocab_size": bpe.get_vocab_size()})
    weights = random_weights(LlamaConfig.from_pretrained(TINY), seed=5)
    save(weights, TINY / "model.safetensors")


def documents(rows) -> list:
    """The fields the harness reads. It needs ctx_a and ctx_b: `ctx` stands in for them."""
    return [{"activity_label": r["activity_label"], "ctx_a": r.get("ctx_a", r["ctx"]),
             "ctx_b": r.get("ctx_b", ""), "label": str(r["label"]), "endings": r["endings"]}
            for r in rows]


def run_harness(folder, rows, bos: bool) -> list:
    """One sample a row, in order, as simple_evaluate logs them."""
    docs = datasets.Dataset.from_list(documents(rows))
    yaml = Path(lm_eval.__file__).parent / "tasks" / "hellaswag" / "hellaswag.yaml"
    task = ConfigurableTask(config=load_yaml_config(yaml) | {
        "process_docs": process_docs, "training_split": None,
        "custom_dataset": lambda **_: {"validation": docs}})
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    lm = HFLM(pretrained=model, tokenizer=raw_tokenizer(folder), add_bos_token=bos, batch_size=1)
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars
        results = lm_eval.simple_evaluate(lm, tasks=[task], log_samples=True, bootstrap_iters=0)
    samples = sorted(results["samples"]["hellaswag"], key=lambda sample: sample["doc_id"])
    texts = ["".join(argument) for sample in samples for argument in sample["arguments"]]
    longest = max(len(lm.tok_encode(text)) for text in texts)
    assert longest <= lm.max_length + 1, "the harness cut a row on the left"
    return samples


def raw_tokenizer(folder) -> PreTrainedTokenizerFast:
    """tokenizer.json as it stands, whatever class tokenizer_config.json names."""
    config = json.loads((folder / "tokenizer_config.json").read_text())
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), bos_token=config["bos_token"],
        eos_token=config["eos_token"], clean_up_tokenization_spaces=False)


def scored(folder, rows, strings: int) -> dict:
    """Rows with and without BOS; the first `strings` of them with what was scored."""
    runs = {"with_bos": run_harness(folder, rows, True),
            "without_bos": run_harness(folder, rows, False)}
    table = []
    for i, original in enumerate(rows):
        entry = {"index": i, "label": int(original["label"])}
        if i < strings:
            doc = runs["with_bos"][i]["doc"]
            entry |= {"query": doc["query"], "choices": doc["choices"]}
        for name, samples in runs.items():
            sample = samples[i]
            entry[name] = {
                "log_likelihoods": [rounded(r[0][0], 7) for r in sample["resps"]],
                "acc": int(sample["acc"]), "acc_norm": int(sample["acc_norm"])}
        table.append(entry)
    summary = {name: {metric: sum(entry[name][metric] for entry in table)
                      for metric in ("acc", "acc_norm")} for name in runs}
    print(f"  {folder.name}: of {len(rows)} right: {summary}")
    return {"right": summary, "rows": table}


def training_example(tokenizer, r, max_length: int) -> dict:
    """usamec/lowmem_finetuning's ids and mask: `labelled` is [begin, end) of the positions that predict the
    gold ending and the EOS; it is empty (equal numbers) where truncation left none."""
    def encode(text):
        return tokenizer.encode(text, add_special_tokens=False)

    text = r["ctx"] + " " + r["endings"][int(r["label"])]
    ids = encode(tokenizer.bos_token + text + tokenizer.eos_token)
    assert ids == [tokenizer.bos_token_id, *encode(text), tokenizer.eos_token_id]
    ids = ids[:max_length]
    end = len(ids) - 1  # the last position predicts nothing
    return {"ids": ids, "labelled": [min(len(encode(r["ctx"])), end), end]}


def training_examples(tokenizer, rows) -> dict:
    return {f"max_length_{n}": [training_example(tokenizer, r, n) for r in rows]
            for n in (160, 24)}


def check_tinystories(folder) -> None:
    """The folder lacks embed_tokens: the tied head must stand in for it, not random numbers."""
    reference = json.loads((folder / "reference.json").read_text())
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor(reference["ids"])
    with torch.no_grad():
        nll = -model(ids[None]).logits[0, :-1].log_softmax(-1).gather(1, ids[1:, None])[:, 0]
    assert torch.allclose(nll, torch.tensor(reference["nll_of_next_token"]), atol=1e-4), nll


def auto_tokenizer_differs(folder, rows) -> list:
    """Rows on which AutoTokenizer gives other ids than tokenizer.json does."""
    auto, raw = AutoTokenizer.from_pretrained(folder), raw_tokenizer(folder)
    docs = process_docs(datasets.Dataset.from_list(documents(rows)))
    texts = [[f"{d['query']} {c}" for c in d["choices"]] for d in docs]
    return [i for i, t in enumerate(texts) if auto(t)["input_ids"] != raw(t)["input_ids"]]


def main() -> None:
    args = arguments(__doc__)
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)

    shutil.rmtree(TINY, ignore_errors=True)
    TINY.mkdir(parents=True)
    write_tiny_model()
    write_jsonl(TINY / "rows.jsonl", ROWS)
    write_json(TINY / "expected.json", scored(TINY, ROWS, strings=len(ROWS)))
    assert not auto_tokenizer_differs(TINY, ROWS)
    write_json(TINY / "training.json", training_examples(raw_tokenizer(TINY), ROWS))

    model = args.shared / "models" / "tinystories-656k"
    if not model.exists():
        print(f"  {args.shared} is missing: the files made from it stay as they are")
        return
    check_tinystories(model)
    rows = read_jsonl(args.shared / "data" / "hellaswag" / "val_1000.jsonl", limit=200)
    write_json(HELLASWAG / "tinystories_656k.json",
               {"auto_tokenizer_differs": auto_tokenizer_differs(model, rows)}
               | scored(model, rows, strings=20))

    llama3 = PreTrainedTokenizerFast(
        tokenizer_file=str(args.shared / "tokenizers" / "llama3" / "tokenizer.json"),
        bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>")
    rows = read_jsonl(args.shared / "data" / "hellaswag" / "train_4303.jsonl", limit=50)
    write_json(HELLASWAG / "training_llama3.json", training_examples(llama3, rows))


if __name__ == "__main__":
    main()
