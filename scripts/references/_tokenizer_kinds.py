"""The small tokenizers of tests/fixtures/tokenizers: one of each kind, and variants."""

import base64
import io
import json
from pathlib import Path

from _common import FIXTURES

import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

OUT = FIXTURES / "tokenizers"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


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
    # The components that these families' tokenizers are published with.
    qwen = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
            r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    tekken = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
              r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
              r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    chatml = added(640, ("<|endoftext|>", "special"), ("<|im_start|>", "special"),
                   ("<|im_end|>", "special"), ("<tool_call>",), ("</tool_call>",))
    yield "qwen", byte_level, sequence(split({"Regex": qwen})) | {
        "normalizer": {"type": "NFC"}, "added_tokens": chatml,
        "post_processor": {"type": "ByteLevel", "add_prefix_space": False,
                           "trim_offsets": False, "use_regex": False},
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False,
                    "use_regex": False},
        "model": {"continuing_subword_prefix": "", "end_of_word_suffix": "",
                  "byte_fallback": False, "ignore_merges": False}}
    yield "tekken", byte_level, sequence(split({"Regex": tekken}))
    yield "nfc_within", llama2_style, {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "NFC"}, {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}}
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
    # Phi-3's marks: what follows a turn's name is taken with it.
    yield "phi3", llama2_style, {"added_tokens": added(
        0, ("<unk>", "special"), ("<s>", "special"), ("</s>", "rstrip")) + added(
        620, ("<|endoftext|>", "special"), ("<|assistant|>", "rstrip", "special"),
        ("<|end|>", "rstrip", "special"), ("<|user|>", "rstrip", "special"))}
    # Mistral 0.3's, whose file transformers made of a SentencePiece model.
    yield "mistral_v3", llama2_style, metaspace("first", False) | {"added_tokens": added(
        0, ("<unk>", "special"), ("<s>", "special"), ("</s>", "special")) + added(
        620, ("[INST]", "special"), ("[/INST]", "special"))}
    yield "no_decoder", llama2_style, {"decoder": None}
    names = added(0, ("<unk>", "normalized", "special"), ("<s>", "normalized", "special"),
                  ("</s>", "special"), ) + added(620, ("<a>", "normalized"))
    yield "normalized_tokens", llama2_style, {"added_tokens": names}
    yield "whitespace", OUT / "word_level", {"pre_tokenizer": {"type": "Whitespace"}}
