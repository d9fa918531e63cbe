#!/usr/bin/env python3
"""Adapters that PEFT makes and trains: where each begins, its losses, and how it ends.

    python scripts/references/models.py        # first: the models
    python scripts/references/training.py      # and the batches
    python scripts/references/adapters.py      # writes tests/fixtures/adapters

Each case is a folder as PEFT saves it, from before training, and a file of the curve. The
second matrices begin away from 0, so that the scale shows from the first loss on. Rows and
losses are those of training.py; AdamW at 1e-3. A curve is checked against the same run in
float64 before it is written.

Over a quantized base PEFT computes what it does over a dense copy of the dequantized
matrices, bit for bit; such a copy stands in for it, so that float64 can be asked here too,
and so that the codes are those of bitsandbytes' PyTorch implementation (quantized.py).
"""

import json
import shutil
from types import SimpleNamespace

from _common import FIXTURES, arguments, rounded, write_json

import quantized  # before peft, which would load bitsandbytes' compiled library
import torch
from peft import AdaLoraConfig, LoraConfig, get_peft_model
from peft.utils.loftq_utils import _low_rank_decomposition
from transformers import AutoModelForCausalLM

from torch.nn.functional import cross_entropy

from training import IGNORE, batch_loss, difference

ADAPTERS = FIXTURES / "adapters"
STEPS = 40

CASES = {
    "query_value": ("llama2_tiny", dict(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"])),
    "all_linear": ("llama32_tiny", dict(r=4, lora_alpha=16, target_modules="all-linear")),
    "rank_stabilized": ("llama32_tiny", dict(
        r=4, lora_alpha=6, use_rslora=True, target_modules=["k_proj", "o_proj", "gate_proj"])),
    "patterns": ("llama2_tiny", dict(
        r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"],
        rank_pattern={"v_proj": 2, "layers.1.mlp.down_proj": 6},
        alpha_pattern={"q_proj": 12})),
    "also_norm": ("llama32_tiny", dict(
        r=4, lora_alpha=16, target_modules=["up_proj", "down_proj"],
        modules_to_save=["model.norm"])),
    "also_head": ("llama2_tiny", dict(
        r=4, lora_alpha=16, target_modules=["o_proj"],
        modules_to_save=["lm_head", "embed_tokens"])),
    "dora": ("llama32_tiny", dict(r=4, lora_alpha=16, target_modules="all-linear", use_dora=True)),
    "nf4": ("llama2_tiny", dict(r=4, lora_alpha=16, target_modules="all-linear")),
    "nf4_double": ("llama32_tiny", dict(r=4, lora_alpha=16, target_modules=["q_proj", "up_proj"])),
    "int8": ("llama32_tiny", dict(r=4, lora_alpha=16, target_modules="all-linear")),
    "dora_nf4": ("llama2_tiny", dict(
        r=4, lora_alpha=8, target_modules=["o_proj", "down_proj"], use_dora=True)),
}
# What the base's linear layers become: model.quantize and model.double_quantization.
QUANTIZED = {"nf4": ("nf4", False), "nf4_double": ("nf4", True), "int8": ("int8", True),
             "dora_nf4": ("nf4", False)}
# Adapters that begin with a part of the model's matrices, or of what quantizing them
# lost. No folder could hold the former, for the model beside them is another one; a curve
# begins from the model and these settings.
STARTS = {
    "pissa": ("llama2_tiny", dict(r=4, lora_alpha=6, target_modules="all-linear")),
    "olora": ("llama32_tiny", dict(r=4, lora_alpha=2, target_modules="all-linear")),
    "loftq": ("llama2_tiny", dict(r=4, lora_alpha=16, target_modules="all-linear")),
    "loftq_iterations": ("llama32_tiny", dict(r=4, lora_alpha=6, target_modules="all-linear")),
}
# num_iter of LoftQ.
ITERATIONS = {"loftq": 1, "loftq_iterations": 4}
# AdaLoRA's begin with E away from 0 or, as PEFT's do, at 0; each as long as STEPS.
ADALORA = {
    "adalora": ("llama2_tiny", dict(
        init_r=6, target_r=2, lora_alpha=16, tinit=4, tfinal=8, deltaT=3,
        target_modules=["q_proj", "v_proj", "down_proj"]), 0.5),
    "adalora_all_linear": ("llama32_tiny", dict(
        init_r=4, target_r=2, lora_alpha=8, target_modules="all-linear"), 0),
    "adalora_nf4": ("llama2_tiny", dict(
        init_r=4, target_r=1, lora_alpha=16, beta1=0.7, beta2=0.9, orth_reg_weight=0.1,
        tfinal=5, target_modules=["o_proj", "up_proj"]), 0.5),
}
QUANTIZED["adalora_nf4"] = ("nf4", False)


def load(name: str):
    return AutoModelForCausalLM.from_pretrained(
        FIXTURES / "models" / name, dtype=torch.float32, attn_implementation="eager")


def quantize(base, form) -> None:
    for key, parameter in base.named_parameters():
        if key.startswith("model.layers.") and parameter.dim() == 2:
            with torch.no_grad():
                parameter.copy_(quantized.dequantized(parameter.detach(), *form))


def save(model, folder, name: str) -> None:
    """As PEFT does, without what differs from machine to machine."""
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    saved = json.loads((folder / "adapter_config.json").read_text())
    saved["base_model_name_or_path"] = name
    for key in ("target_modules", "modules_to_save"):  # a set's order is any
        if isinstance(saved[key], list):
            saved[key].sort()
    (folder / "adapter_config.json").write_text(json.dumps(saved, indent=2) + "\n")


def start(name: str, config: dict, form=None):
    torch.manual_seed(3)
    base = load(name)
    if form is not None:
        quantize(base, form)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **config))
    generator = torch.Generator().manual_seed(5)
    for key, parameter in model.named_parameters():
        if ".lora_B." in key:
            with torch.no_grad():
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def start_from_base(case: str, dtype):
    """PEFT's own beginning; LoftQ's, which PEFT has for GPUs alone and without a scale,
    from its decomposition and bitsandbytes' codes. The last value: how far codes and pair
    are from each matrix."""
    name, config = STARTS[case]
    torch.manual_seed(3)
    base = load(name)
    if case not in ITERATIONS:
        model = get_peft_model(
            base, LoraConfig(task_type="CAUSAL_LM", init_lora_weights=case, **config))
        return model.to(dtype), None
    found, errors = {}, {}
    for key, parameter in base.named_parameters():
        if key.startswith("model.layers.") and parameter.dim() == 2:
            with torch.no_grad():
                # The loop of PEFT's loftq_init().
                weight = parameter.detach().clone()
                rest = weight
                for _ in range(ITERATIONS[case]):
                    codes = quantized.dequantized(rest, "nf4", False)
                    pair = _low_rank_decomposition(weight - codes, config["r"])
                    rest = weight - torch.mm(pair["L"], pair["R"])
                parameter.copy_(codes)
                found[key.removesuffix(".weight")] = pair
                errors[key] = rounded((rest - codes).double().norm())
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **config))
    for key, module in model.named_modules():
        if hasattr(module, "lora_A"):
            pair = found[key.removeprefix("base_model.model.")]
            root = module.scaling["default"] ** 0.5
            with torch.no_grad():
                module.lora_A["default"].weight.copy_(pair["R"] / root)
                module.lora_B["default"].weight.copy_(pair["L"] / root)
    return model.to(dtype), errors


def train(model, batches):
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    rule = torch.optim.AdamW(trained.values(), lr=1e-3, weight_decay=0.01, foreach=False)
    losses = []
    for step in range(STEPS):
        rule.zero_grad()
        losses.append(batch_loss(model, batches[step % len(batches)], backward=True))
        rule.step()
    return losses, trained


def start_adalora(case: str):
    name, config, deviation = ADALORA[case]
    torch.manual_seed(3)
    base = load(name)
    if case in QUANTIZED:
        quantize(base, QUANTIZED[case])
    model = get_peft_model(
        base, AdaLoraConfig(task_type="CAUSAL_LM", total_step=STEPS, **config))
    generator = torch.Generator().manual_seed(5)
    for key, parameter in model.named_parameters():
        if ".lora_E." in key:
            with torch.no_grad():
                parameter.copy_(deviation * torch.randn(parameter.shape, generator=generator))
    return model


def train_adalora(model, batches):
    """PEFT adds orthogonality to the loss that its model returns: here that is the mean
    over the whole batch. Ranks are those of a module's pattern after each step; steps
    count from 1 for the schedule."""
    adalora, one_row = model.base_model, model.base_model.model.forward

    def whole_batch(rows):
        count = sum(label != IGNORE for row in rows for label in row["labels"])
        total = 0
        for row in rows:
            logits = one_row(torch.tensor([row["ids"]]), use_cache=False).logits[0]
            total = total + cross_entropy(
                logits, torch.tensor(row["labels"]), ignore_index=IGNORE, reduction="sum")
        return SimpleNamespace(loss=total / count)

    adalora.model.forward = whole_batch
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    rule = torch.optim.AdamW(trained.values(), lr=1e-2, weight_decay=0.01, foreach=False)
    losses = []
    ranks = {plain(n).removesuffix(".lora_E"): [] for n in trained if ".lora_E." in n}
    for step in range(STEPS):
        rule.zero_grad()
        loss = adalora(batches[step % len(batches)]).loss
        loss.backward()
        losses.append(loss.double().item())
        rule.step()
        adalora.update_and_allocate(step + 1)
        pattern = adalora.peft_config["default"].rank_pattern
        for module, counts in ranks.items():
            own = pattern and pattern[module + ".lora_E.default"]
            counts.append(sum(own) if own else adalora.peft_config["default"].init_r)
    adalora.model.forward = one_row
    return losses, ranks, trained


def write_adalora(case: str, batches) -> None:
    folder = ADAPTERS / case
    model = start_adalora(case).train()
    save(model, folder, ADALORA[case][0])
    losses, ranks, trained = train_adalora(model, batches)
    exact, same, _ = train_adalora(start_adalora(case).double().train(), batches)
    error = difference(losses, exact)
    assert error < 1e-5, f"{case}: {error} from float64"
    assert ranks == same, f"{case}: other ranks in float64"
    totals = [sum(counts) for counts in zip(*ranks.values())]
    print(f"  {case}: loss {losses[0]:.4f} to {losses[-1]:.4f}, {error:.1e} from float64; "
          f"ranks {totals[0]} to {totals[-1]}")
    form = QUANTIZED.get(case)
    # As PEFT leaves it, with the triplets that are left and what the model then says.
    save(model, ADAPTERS / f"{case}_trained", ADALORA[case][0])
    ids = [1, 5, 9, 200]
    with torch.no_grad():
        logits = model.eval()(torch.tensor([ids]), use_cache=False).logits[0]
    write_json(ADAPTERS / f"{case}.json", {
        "model": ADALORA[case][0],
        "quantize": form[0] if form else "none",
        "double_quantization": form[1] if form else True,
        "steps": STEPS,
        "loss": rounded(losses),
        "ranks": ranks,
        "parameters": {plain(n): rounded(p.detach().double().norm())
                       for n, p in trained.items()},
        "trained": {"ids": ids, "logits": rounded(logits)},
    })


def plain(name: str) -> str:
    """As the tensor is called in the folder, without PEFT's prefix."""
    return (name.removeprefix("base_model.model.").replace(".default", "")
            .replace(".modules_to_save", "")
            .replace("magnitude_vector.weight", "magnitude_vector"))


def main() -> None:
    arguments(__doc__)
    batches = json.loads((FIXTURES / "training" / "batches.json").read_text())
    for case, (name, config) in CASES.items():
        folder = ADAPTERS / case
        form = QUANTIZED.get(case)
        model = start(name, config, form).train()
        save(model, folder, name)
        losses, trained = train(model, batches)
        exact, _ = train(start(name, config, form).double().train(), batches)
        error = difference(losses, exact)
        assert error < 1e-5, f"{case}: {error} from float64"
        print(f"  {case}: loss {losses[0]:.4f} to {losses[-1]:.4f}, {error:.1e} from float64")
        write_json(ADAPTERS / f"{case}.json", {
            "model": name,
            "quantize": form[0] if form else "none",
            "double_quantization": form[1] if form else True,
            "loss": rounded(losses),
            "parameters": {plain(n): rounded(p.detach().double().norm())
                           for n, p in trained.items()},
        })
    for case, (name, config) in STARTS.items():
        model, errors = start_from_base(case, torch.float32)
        losses, trained = train(model.train(), batches)
        exact, _ = train(start_from_base(case, torch.float64)[0].train(), batches)
        error = difference(losses, exact)
        assert error < 1e-5, f"{case}: {error} from float64"
        print(f"  {case}: loss {losses[0]:.4f} to {losses[-1]:.4f}, {error:.1e} from float64")
        write_json(ADAPTERS / f"{case}.json", {
            "model": name,
            "init": "loftq" if case in ITERATIONS else case,
            **({"iterations": ITERATIONS[case], "errors": errors} if errors else {}),
            "rank": config["r"],
            "alpha": config["lora_alpha"],
            "loss": rounded(losses),
            "parameters": {plain(n): rounded(p.detach().double().norm())
                           for n, p in trained.items()},
        })
    for case in ADALORA:
        write_adalora(case, batches)


if __name__ == "__main__":
    main()
