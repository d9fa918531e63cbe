"""Numbers of a hash, which the tests write once more, and a hash of numbers."""

import numpy as np


def fnv(array) -> int:
    """FNV-1a of an array's bytes."""
    value = 0x811C9DC5
    for byte in np.ascontiguousarray(array).tobytes():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def draw(count, stream):
    """Exact in fp32: 24 bits of [-1, 1) and a power of two from 1 to 2^-7."""
    x = np.arange(count, dtype=np.uint64) + np.uint64(stream * 1000003)
    for factor in (0x85EBCA6B, 0xC2B2AE35):
        x = (x ^ (x >> np.uint64(16))) * np.uint64(factor) & np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(16)
    fraction = ((x >> np.uint64(8)).astype(np.float64) - 2 ** 23) / 2 ** 23
    return (fraction * 2.0 ** -(x & np.uint64(7)).astype(np.float64)).astype(np.float32)
