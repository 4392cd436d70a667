#!/usr/bin/env python3
"""Writes tests/golden/quant/blocks.bin: random blocks of GGUF's types, dequantised by the gguf
package, for tests/quant.

Needs numpy and gguf. Run from the repository's root.

Layout, little-endian, for each type: int32 type, inputs, bytes (of all its blocks); the blocks;
float32 weights [inputs].
"""
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize

INPUTS = 512
# Offsets of the f16 values in a block; all other bytes may be any.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82],
    "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ1_S": [0], "IQ1_M": [],
    "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0], "IQ3_XXS": [0], "IQ3_S": [0], "IQ4_NL": [0],
    "IQ4_XS": [0], "TQ1_0": [52], "TQ2_0": [64], "MXFP4": [], "NVFP4": [],
}  # fmt: skip

rng = np.random.default_rng(11)


def halves(n):
    values = (rng.standard_normal(n) * 0.01).astype(np.float16)
    values[:1] = np.float16(6e-8)  # the smallest
    return values


def random_blocks(name):
    inputs, size = GGML_QUANT_SIZES[Type[name]]
    n = INPUTS // inputs
    blocks = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for offset in HALVES[name]:
        blocks[:, offset : offset + 2] = halves(n).view(np.uint8).reshape(n, 2)
    if name == "IQ1_M":  # four bits of the f16 scale on top of each of the last words
        words = blocks[:, 48:].copy().view(np.uint16)
        scale = halves(n).view(np.uint16).reshape(n, 1)
        nibbles = scale >> np.array([0, 4, 8, 12], np.uint16) & 15
        blocks[:, 48:] = (words & 0x0FFF | nibbles << 12).astype(np.uint16).view(np.uint8)
    if name == "MXFP4":
        blocks[:, 0] = rng.integers(100, 140, n)
        blocks[:4, 0] = [0, 1, 2, 127]
    if name == "NVFP4":
        blocks[:, :4] &= 0x7F
        blocks[0, :4] = [0, 1, 7, 0x7F]
    return blocks


with open("tests/golden/quant/blocks.bin", "wb") as out:
    for name in HALVES:
        blocks = random_blocks(name)
        weights = dequantize(blocks.reshape(1, -1), Type[name]).astype(np.float32)
        assert weights.shape == (1, INPUTS) and np.isfinite(weights).all()
        out.write(np.array([Type[name], INPUTS, blocks.size], np.int32).tobytes())
        out.write(blocks.tobytes() + weights.tobytes())
