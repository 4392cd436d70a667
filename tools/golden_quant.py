#!/usr/bin/env python3
"""Writes tests/golden/quant/affine.bin: matrices quantised by mlx, for tests/quant.

Needs numpy and mlx (on Linux `pip install "mlx[cpu]"`). Run from the repository's root.

Layout, little-endian. For each storage type (0 F32, 1 F16, 2 BF16):
  int32 type, rows, cols, cases; weights [rows, cols] of the type;
  then per case: int32 bits, group; codes [rows, cols * bits / 8] as bytes; scales and biases
  [rows, cols / group] of the type; float32 [rows, cols] code * scale + bias, as numpy computes it.
"""
import numpy as np
import mlx.core as mx

ROWS, COLS = 6, 128
TYPES = [mx.float32, mx.float16, mx.bfloat16]


def raw(array):
    """The bytes of an mlx array."""
    if array.dtype == mx.bfloat16:
        array = array.view(mx.uint16)
    return np.array(array).tobytes()


def unpack(words, bits):
    data = np.array(words).view(np.uint8).reshape(words.shape[0], -1)
    stream = np.unpackbits(data, axis=1, bitorder="little").reshape(words.shape[0], -1, bits)
    return (stream * (1 << np.arange(bits))).sum(-1).astype(np.float32)


def weights():
    rng = np.random.default_rng(7)
    w = rng.standard_normal((ROWS, COLS)).astype(np.float32)
    w[1] *= 1e-3
    w[2] = np.abs(w[2]) + 3  # zero lies outside of the range
    w[3] = -np.abs(w[3]) * 20
    w[4, :32], w[4, 32:64], w[4, 64:96], w[4, 96:] = 0, 1, -3, 1e-9 * w[4, 96:]
    w[5] = np.round(w[5] * 2) / 2  # many ties
    return w


with open("tests/golden/quant/affine.bin", "wb") as out:
    for index, dtype in enumerate(TYPES):
        w = mx.array(weights()).astype(dtype)
        cases = [(bits, group) for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]
        out.write(np.array([index, ROWS, COLS, len(cases)], np.int32).tobytes() + raw(w))
        for bits, group in cases:
            codes, scales, biases = mx.quantize(w, group_size=group, bits=bits)
            out.write(np.array([bits, group], np.int32).tobytes())
            out.write(np.array(codes).tobytes() + raw(scales) + raw(biases))
            scale, bias = (
                np.repeat(np.array(part.astype(mx.float32)), group, axis=1)
                for part in (scales, biases)
            )
            out.write((unpack(codes, bits) * scale + bias).astype(np.float32).tobytes())
