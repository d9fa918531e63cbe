#!/usr/bin/env python3
"""Model folders in 4 and 8 bits as transformers saves them with bitsandbytes.

    python scripts/references/models.py             # first: the model
    python scripts/references/quantized_folders.py  # writes tests/fixtures/quantized/<form>

Beside each folder lie the logits of some tokens, of a dense copy of the numbers that its
codes stand for. In 4 bits they are checked against those of the quantized model itself; in 8
bits that one rounds its activations, too.
"""

import shutil

from _common import FIXTURES, arguments, rounded, write_json

import quantized  # before transformers, which would load bitsandbytes' compiled library
import torch
from bitsandbytes import functional as bnb
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

MODEL = FIXTURES / "models" / "llama2_tiny"
IDS = [(7 * i * i + 3) % 320 for i in range(40)]
FORMS = {
    "nf4": dict(load_in_4bit=True, bnb_4bit_quant_type="nf4",
                bnb_4bit_compute_dtype=torch.float32),
    "nf4_double": dict(load_in_4bit=True, bnb_4bit_quant_type="nf4",
                       bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32),
    "int8": dict(load_in_8bit=True),
}


def numbers_of(weight):
    if hasattr(weight, "quant_state"):
        return bnb.dequantize_4bit(weight.data, weight.quant_state)
    return weight.CB.float() * weight.SCB.unsqueeze(1).mul(1.0 / 127.0)


def main() -> None:
    arguments(__doc__)
    torch.set_num_threads(1)
    ids = torch.tensor([IDS])
    for form, settings in FORMS.items():
        folder = FIXTURES / "quantized" / form
        shutil.rmtree(folder, ignore_errors=True)
        model = AutoModelForCausalLM.from_pretrained(
            MODEL, dtype=torch.float32, device_map="cpu", attn_implementation="eager",
            quantization_config=BitsAndBytesConfig(**settings))
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        (folder / "model.safetensors").chmod(0o644)
        dense = AutoModelForCausalLM.from_pretrained(
            MODEL, dtype=torch.float32, attn_implementation="eager")
        of = dict(model.named_modules())
        with torch.no_grad():
            for name, module in dense.named_modules():
                if isinstance(module, torch.nn.Linear) and name != "lm_head":
                    module.weight.copy_(numbers_of(of[name].weight))
            logits = dense.double()(ids).logits[0]
            if form != "int8":
                own = model(ids).logits[0].double()
                assert ((own - logits).abs().max() < 1e-5 * logits.abs().max()), form
        write_json(folder / "reference.json", {
            "ids": IDS, "norm": rounded(logits.norm()),
            "last": [rounded(x) for x in logits[-1, ::8]]})
        print(f"  {form}: logits' norm {logits.norm():.6f}")


if __name__ == "__main__":
    main()
