#!/usr/bin/env python3
"""Matrices in 4 and 8 bits as bitsandbytes makes them.

    python scripts/references/quantized.py     # writes tests/fixtures/quantized/quantized.json

All of it is the package's PyTorch implementation (backends/default). The compiled library
for CPUs is kept from loading, since its codes of nested scales are not the nearest; so is
torch.compile, which could contract products and sums.

The offset of nested scales is the mean that is added up in float64: torch's fp32 sum
depends on the machine's vectors and threads. `offset_torch` is what torch made of it where
this was written, `moved` how many of the codes differ with that.

Floats are given as the hexadecimal digits of their bytes, so are codes; what becomes of
them as FNV-1a of the bytes, fp32 and bf16. Values that are a number are draw(count, number).
"""

import ctypes
import os

os.environ["TORCHDYNAMO_DISABLE"] = "1"


def refused(*_):
    raise OSError("the compiled library is not to be loaded")


loading, ctypes.LibraryLoader.LoadLibrary = ctypes.LibraryLoader.LoadLibrary, refused
import bitsandbytes  # noqa: E402
import bitsandbytes.functional as bnb  # noqa: E402
ctypes.LibraryLoader.LoadLibrary = loading

import numpy as np  # noqa: E402
import torch  # noqa: E402

from _common import FIXTURES, arguments, write_json  # noqa: E402
from _hashed import draw, fnv  # noqa: E402

F32 = torch.float32


def digits(tensor) -> str:
    return tensor.contiguous().numpy().tobytes().hex()


def hashes(fp32, prefix="") -> dict:
    """Of numbers and of them rounded once."""
    bits = fp32.to(torch.bfloat16).contiguous().view(torch.int16)
    return {prefix + "fp32": fnv(fp32.numpy()), prefix + "bf16": fnv(bits.numpy())}


def quantized_absmax(absmax) -> dict:
    offset = absmax.double().mean().float()
    codes, state = bnb.quantize_blockwise(absmax - offset, blocksize=256)
    torchs = absmax.mean()
    others, _ = bnb.quantize_blockwise(absmax - torchs, blocksize=256)
    back = bnb.dequantize_blockwise(codes, state)
    back += offset
    return {"absmax_codes": digits(codes), "nested_absmax": digits(state.absmax),
            "offset": digits(offset), "offset_torch": digits(torchs),
            "moved": int((codes != others).sum())}, back


def nf4(name, values, source=None) -> dict:
    values = torch.as_tensor(values, dtype=F32)
    codes, state = bnb.quantize_4bit(values, quant_type="nf4")
    if bool((values.bfloat16().float() == values).all()):  # the loaded type does not matter
        assert (bnb.quantize_4bit(values.bfloat16(), quant_type="nf4")[0] == codes).all()

    def back(absmax):
        return torch.ops.bitsandbytes.dequantize_4bit.default(
            codes, absmax, 64, "nf4", values.shape, F32)

    nested, scales = quantized_absmax(state.absmax)
    half = torch.ops.bitsandbytes.dequantize_4bit.default(
        codes, scales, 64, "nf4", values.shape, torch.bfloat16)
    assert (half == back(scales).bfloat16()).all()  # rounded once
    return {"name": name, "shape": list(values.shape),
            "values": digits(values) if source is None else source,
            "codes": digits(codes) if source is None else fnv(codes.numpy()),
            "absmax": digits(state.absmax)} | nested | hashes(back(state.absmax)) | hashes(
                back(scales), "nested_")


def int8(name, values, source=None) -> dict:
    values = torch.as_tensor(values, dtype=F32)
    rows, columns = values.shape
    codes, scales, _ = bnb.int8_vectorwise_quant(values.half())
    # As MatMul8bitFp has it, of an input of either type.
    factor = scales.unsqueeze(1).mul(1.0 / 127.0)
    back = codes.to(F32).mul_(factor)
    assert (codes.to(torch.bfloat16).mul_(factor) == back.bfloat16()).all()
    layer = bitsandbytes.nn.Linear8bitLt(columns, rows, bias=False, has_fp16_weights=False)
    layer.weight = bitsandbytes.nn.Int8Params(values.clone(), requires_grad=False,
                                              has_fp16_weights=False).to("cpu")
    assert (layer(torch.eye(columns)).t() == back).all(), name
    other = bnb.int8_vectorwise_dequant(codes, scales)
    assert ((other - back).abs() <= back.abs() * 2.0 ** -22).all()
    return {"name": name, "shape": [rows, columns],
            "values": digits(values) if source is None else source,
            "codes": digits(codes) if source is None else fnv(codes.numpy()),
            "scales": digits(scales)} | hashes(back)


def dequantized(matrix, kind: str, double: bool):
    """What a linear layer multiplies by, of a matrix that is quantized: fp32."""
    if kind == "int8":
        codes, scales, _ = bnb.int8_vectorwise_quant(matrix.half())
        return codes.to(F32).mul_(scales.unsqueeze(1).mul(1.0 / 127.0))
    codes, state = bnb.quantize_4bit(matrix, quant_type="nf4")
    absmax = quantized_absmax(state.absmax)[1] if double else state.absmax
    return torch.ops.bitsandbytes.dequantize_4bit.default(
        codes, absmax, 64, "nf4", matrix.shape, F32)

def around(x):
    """x and its neighbours in fp32."""
    x = np.asarray(x, np.float32)
    return np.stack([np.nextafter(x, np.float32(-9)), x, np.nextafter(x, np.float32(9))],
                    -1).reshape(-1)


def halfway_scales(most) -> torch.Tensor:
    """Three blocks around what is half-way between two codes, and a short one; mean 0."""
    levels = bnb.create_dynamic_map(signed=True)
    bounds = ((levels[:-1] + levels[1:]) / 2)[127:254] * most
    blocks = []
    for side in (-9.0, None, 9.0):
        near = bounds if side is None else torch.nextafter(bounds, torch.tensor(side))
        near = torch.cat([near, torch.tensor([most])])
        blocks.append(torch.stack([near, -near], 1).reshape(-1))
    scales = torch.cat([*blocks, blocks[1][-200:]])
    assert len(scales) == 968 and scales.double().sum() == 0
    return scales


def matrices() -> dict:
    normal = np.random.default_rng(1).normal(0, 0.05, (24, 43)).astype(np.float32)
    rows_172 = np.random.default_rng(2).normal(0, 0.02, (7, 172)).astype(np.float32)
    zeros = np.random.default_rng(3).normal(0, 1, (5, 64)).astype(np.float32)
    zeros[1] = 0
    zeros[3, 5:] = 0
    zeros[4] = -0.0
    outlier = np.random.default_rng(4).normal(0, 0.02, (3, 100)).astype(np.float32)
    outlier[1, 50] = 1000
    bf16 = torch.tensor(np.random.default_rng(5).normal(0, 0.1, (4, 90)), dtype=F32)
    subnormal = (np.random.default_rng(6).normal(0, 1, (5, 64))
                 * np.array([[1e-37], [3e-39], [1e-41], [3e-45], [2e-38]])).astype(np.float32)
    small = np.random.default_rng(7).normal(0, 1e-7, (4, 33)).astype(np.float32)
    return {"normal": normal, "rows_172": rows_172, "zeros": zeros, "outlier": outlier,
            "bf16": bf16.bfloat16().float().numpy(), "subnormal": subnormal, "small": small,
            "one": np.float32([[-0.3]]), "short": normal[:1, :7], "column": normal[:, :1],
            "zero_tail": np.concatenate([normal[0], np.zeros(35, np.float32)])[None],
            "zero": np.zeros((1, 3), np.float32)}


def main() -> None:
    arguments(__doc__)
    torch.set_num_threads(1)
    levels = bnb.get_4bit_type("nf4", device="cpu")
    middles = around(((levels[:-1] + levels[1:]) / 2).numpy())
    # The scale is 1 in whole blocks and in the short one.
    halfway = np.concatenate([[-1], middles, np.zeros(18), [1], middles[:20]])[None]
    # Other scales, where a quotient and a product with a reciprocal differ.
    blocks = [np.concatenate([[most], around(middles[1::3] * most), np.zeros(18)])
              .astype(np.float32)
              for most in np.random.default_rng(8).uniform(0.5, 1, 6).astype(np.float32)]
    divided = np.concatenate([*blocks, blocks[0][:63]])[None]
    for block in blocks:
        ways = [np.searchsorted(middles[1::3], part) for part in (
            block / block[0], block * (np.float32(1) / block[0]))]
        assert (ways[0] != ways[1]).any(), block[0]

    # Halves, between which the even is right; fp16's own halves, and its largest.
    # Halves but for the rounding of 127 / scale, which torch makes of the reciprocal.
    quotient = np.float32([[0.0697021484375, 0.03485107421875],
                           [0.03411865234375, 0.017059326171875],
                           [0.10076904296875, 0.044036865234375],
                           [0.04925537109375, 0.024627685546875]])
    halves = np.concatenate([[127], np.arange(-126.5, 127), np.zeros(1)])[None]
    grid = np.concatenate([around([1 + 2.0 ** -11, 1 + 3 * 2.0 ** -11, -2 - 2.0 ** -10]),
                           around([2.0 ** -14, 2.0 ** -14 - 2.0 ** -25, 5 * 2.0 ** -25,
                                   3 * 2.0 ** -25, 2.0 ** -25, -2.0 ** -25]), [2.5]])
    grid = np.stack([grid, np.where(np.abs(grid) < 0.1, grid, 0)])
    most = np.float32([[65519.996, -65504, 511.75, 3], [-65519.996, 65504, 512.25, 1e-30]])

    every = matrices()
    write_json(FIXTURES / "quantized" / "quantized.json", {
        "levels": digits(levels),
        "nf4": [nf4(name, x) for name, x in every.items()]
        + [nf4("halfway", halfway), nf4("divided", divided),
           nf4("large", draw(35591, 1)[None], 1)],
        "halfway_absmax": [{"absmax": digits(x)} | quantized_absmax(x)[0]
                           for x in map(halfway_scales, (1.0, 0.7, 0.9))],
        "int8": [int8(name, x) for name, x in every.items()]
        + [int8("halves", halves), int8("quotient", quotient), int8("grid", grid), int8("most", most),
           int8("large", draw(31 * 1148, 1).reshape(31, 1148), 1)],
    })


if __name__ == "__main__":
    main()
