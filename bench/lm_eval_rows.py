#!/usr/bin/env python3
"""HellaSwag by lm-evaluation-harness on local rows, for bench/cpu_1b.sh: prints one JSON line
with the seconds of the scoring, its log-likelihoods, and what start-up and loading took.

    lm_eval_rows.py MODEL_FOLDER ROWS.jsonl [--limit 200] [--batch-size 8]
"""

import argparse
import json
import logging
import os
import sys
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # everything is local
os.environ["TQDM_DISABLE"] = "1"
start = time.perf_counter()

import datasets
import lm_eval
import torch
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks.hellaswag.utils import process_docs
from lm_eval.utils import load_yaml_config
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast


def task_of(rows) -> ConfigurableTask:
    """The harness's own task; only its rows come from here."""
    docs = datasets.Dataset.from_list(rows)
    yaml = Path(lm_eval.__file__).parent / "tasks" / "hellaswag" / "hellaswag.yaml"
    return ConfigurableTask(config=load_yaml_config(yaml) | {
        "process_docs": process_docs, "training_split": None,
        "custom_dataset": lambda **_: {"validation": docs}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    logging.disable(logging.WARNING)

    rows = []
    for line in args.rows.read_text(encoding="utf-8").splitlines()[:args.limit]:
        row = json.loads(line)
        rows.append({key: row[key] for key in ("activity_label", "ctx_a", "ctx_b", "endings")}
                    | {"label": str(row["label"])})
    task = task_of(rows)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(args.model / "tokenizer.json"), bos_token="<|begin_of_text|>",
        eos_token="<|end_of_text|>", clean_up_tokenization_spaces=False)
    model = LlamaForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    harness = HFLM(pretrained=model, tokenizer=tokenizer, add_bos_token=True,
                   batch_size=args.batch_size)
    loaded = time.perf_counter()
    results = lm_eval.simple_evaluate(harness, tasks=[task], log_samples=True,
                                      bootstrap_iters=0)
    seconds = time.perf_counter() - loaded
    samples = sorted(results["samples"]["hellaswag"], key=lambda sample: sample["doc_id"])
    json.dump({
        "label": f"lm-eval {lm_eval.__version__}, batch {args.batch_size}",
        "seconds": seconds, "start_up_seconds": loaded - start,
        "acc": int(sum(sample["acc"] for sample in samples)),
        "log_likelihoods": [[answer[0][0] for answer in sample["resps"]]
                            for sample in samples]}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
