#!/usr/bin/env python3
"""Checks that the files which the tests write in flash-moe's layout are what its description says, and that
flashmoe computes the same on them. Needs numpy alone.

usage: check_flash_moe.py BUILD_DIR MLX_MODEL [WORK_DIR]

BUILD_DIR holds flashmoe and tests/cli/write_flash_moe (a test's helper); MLX_MODEL is a 4-bit model of qwen3_5_moe in MLX's
format (models/tiny). Everything below is written down after the description of flash-moe's files, apart from the
code that writes them:

  model_weights.bin   the tensors that are no experts', sorted by name, at multiples of 64 bytes, as in the source
  model_weights.json  {model, num_tensors, tensors: {name: {offset, size, shape, dtype}}, config}; names without
                      `language_model.`
  packed_experts/layer_XX.bin       an expert after the other: gate, up, down, of each weight, scales, biases;
                                    weight [out, in/8] of u32, the first in the lowest four bits; scales and biases
                                    bf16, one for 64 inputs; a weight is q * scale + bias
  packed_experts/layer_XX/expert_XXX.bin   the same, one file each
  packed_experts_2bit/layer_XX.bin  the same with [out, in/16]
  packed_experts_lz4/layer_XX.bin   for each expert {u64 offset, u32 packed bytes, u32 bytes}, then the packed ones
"""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

import numpy as np

# The offsets of flash-moe's own 397B model: hidden 4096, 1024 inner units.
PUBLISHED = {4: ([0, 2097152, 2228224, 2359296, 4456448, 4587520, 4718592, 6815744, 6946816], 7077888),
             2: ([0, 1048576, 1179648, 1310720, 2359296, 2490368, 2621440, 3670016, 3801088], 3932160)}


def parts_of(hidden, inner, bits):
    """[(matrix, part, offset, rows, 32-bit words or scales of a row)] of an expert, and its bytes."""
    parts, at = [], 0
    for matrix, rows, cols in (('gate_proj', inner, hidden), ('up_proj', inner, hidden), ('down_proj', hidden, inner)):
        for part, width, size in (('weight', cols * bits // 32, 4), ('scales', cols // 64, 2), ('biases', cols // 64, 2)):
            parts.append((matrix, part, at, rows, width))
            at += rows * width * size
    return parts, at


def decode(weight, scales, biases, bits):
    """float32 [rows, cols] of u32 words and bf16 bits."""
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    codes = (weight[..., None] >> shifts & np.uint32((1 << bits) - 1)).reshape(*weight.shape[:-1], -1)
    wide = [(x.astype(np.uint32) << 16).view(np.float32).repeat(64, -1) for x in (scales, biases)]
    return codes.astype(np.float32) * wide[0] + wide[1]


def lz4_block(data):
    """The content of one LZ4 block."""
    out, at = bytearray(), 0
    while at < len(data):
        token = data[at]
        at += 1

        def length(n):
            nonlocal at
            while n == 15 or n > 15 and data[at - 1] == 255:
                n += data[at]
                at += 1
            return n
        literals = length(token >> 4)
        out += data[at:at + literals]
        at += literals
        if at == len(data):
            break
        back = data[at] | data[at + 1] << 8
        at += 2
        count = length(token & 15) + 4
        for _ in range(count):
            out.append(out[-back])
    return bytes(out)


class Safetensors:
    """Tensors of a folder by name: (dtype, shape, bytes)."""

    def __init__(self, folder):
        self.tensors = {}
        for name in sorted(os.listdir(folder)):
            if not name.endswith('.safetensors'):
                continue
            with open(os.path.join(folder, name), 'rb') as file:
                raw = file.read()
            size, = struct.unpack('<Q', raw[:8])
            for tensor, what in json.loads(raw[8:8 + size]).items():
                if tensor != '__metadata__':
                    begin, end = (8 + size + n for n in what['data_offsets'])
                    self.tensors[tensor] = (what['dtype'], what['shape'], raw[begin:end])

    def stack(self, name, bits=4):
        parts = []
        for part, kind in (('weight', '<u4'), ('scales', '<u2'), ('biases', '<u2')):
            _, shape, data = self.tensors[f'{name}.{part}']
            parts.append(np.frombuffer(data, kind).reshape(shape))
        return decode(*parts, bits)


def experts(folder, layer, count, hidden, inner, bits):
    """Each expert's bytes, from whichever form is there."""
    base = os.path.join(folder, 'packed_experts_2bit' if bits == 2 else 'packed_experts')
    size = parts_of(hidden, inner, bits)[1]
    whole, lz4 = f'{base}/layer_{layer:02}.bin', f'{folder}/packed_experts_lz4/layer_{layer:02}.bin'
    if os.path.exists(whole):
        data = open(whole, 'rb').read()
        assert len(data) == count * size, (whole, len(data), count * size)
        return [data[e * size:(e + 1) * size] for e in range(count)]
    if os.path.exists(lz4):
        data, result = open(lz4, 'rb').read(), []
        for e in range(count):
            offset, packed, raw = struct.unpack_from('<QII', data, 16 * e)
            blob = data[offset:offset + packed]
            assert raw == size, (lz4, e, raw, size)
            result.append(blob if packed == raw else lz4_block(blob))
        return result
    return [open(f'{base}/layer_{layer:02}/expert_{e:03}.bin', 'rb').read() for e in range(count)]


def check_dense(folder, source):
    manifest = json.load(open(f'{folder}/model_weights.json'))
    blob = open(f'{folder}/model_weights.bin', 'rb').read()
    expected = {n.removeprefix('language_model.'): t for n, t in source.tensors.items() if '.switch_mlp.' not in n}
    assert manifest['num_tensors'] == len(manifest['tensors']) == len(expected)
    end = 0
    for name in sorted(expected):
        dtype, shape, data = expected[name]
        entry = manifest['tensors'][name]
        assert entry['offset'] % 64 == 0 and 0 <= entry['offset'] - end < 64, (name, entry, end)
        assert (entry['dtype'], entry['shape'], entry['size']) == (dtype, shape, len(data)), (name, entry)
        end = entry['offset'] + entry['size']
        assert blob[entry['offset']:end] == data, name
    assert end == len(blob)
    return len(expected)


def check_experts(folder, source, config, bits):
    """The experts decoded from the files against the source's; of 2 bits, against its 4 bits within a step."""
    hidden, inner, count = config['hidden_size'], config['moe_intermediate_size'], config['num_experts']
    parts, size = parts_of(hidden, inner, bits)
    for layer in range(config['num_hidden_layers']):
        wanted = {m: source.stack(f'language_model.model.layers.{layer}.mlp.switch_mlp.{m}')
                  for m in ('gate_proj', 'up_proj', 'down_proj')}
        for e, data in enumerate(experts(folder, layer, count, hidden, inner, bits)):
            assert len(data) == size
            read = {}
            for matrix, part, at, rows, width in parts:
                kind = '<u4' if part == 'weight' else '<u2'
                read[matrix, part] = np.frombuffer(data, kind, rows * width, at).reshape(rows, width)
            for matrix, stack in wanted.items():
                scales = read[matrix, 'scales']
                got = decode(read[matrix, 'weight'], scales, read[matrix, 'biases'], bits)
                if bits == 4:
                    assert np.array_equal(got, stack[e]), (layer, e, matrix)
                else:
                    # MLX's rounding stretches steps by at least 0.75 for zero to be a code, so the far end of a
                    # group may be a step away; and scale and bias, of which there are four, are rounded to bf16.
                    step = np.abs((scales.astype(np.uint32) << 16).view(np.float32)).repeat(64, -1)
                    assert (np.abs(got - stack[e]) <= step * (1 + 4 * 2 ** -8) + 2 ** -8 * np.abs(stack[e])).all()
    return config['num_hidden_layers'] * count


def logits(flashmoe, model, work):
    ids, out = os.path.join(work, 'ids.txt'), os.path.join(work, 'out.npy')
    open(ids, 'w').write('\n'.join(str(i * 97 % 4000) for i in range(64)))
    subprocess.run([flashmoe, 'logits', model, '--ids', ids, '--out', out], check=True, stderr=subprocess.DEVNULL)
    return np.load(out)


def main():
    build, mlx = sys.argv[1:3]
    work = tempfile.mkdtemp(dir=sys.argv[3] if len(sys.argv) > 3 else None)
    flashmoe, writer = f'{build}/flashmoe', f'{build}/tests/cli/write_flash_moe'
    for bits, (offsets, size) in PUBLISHED.items():
        parts, own = parts_of(4096, 1024, bits)
        assert ([p[2] for p in parts], own) == (offsets, size), bits
    print('offsets: those published for 4 and 2 bits')
    config = json.load(open(f'{mlx}/config.json'))['text_config']
    source = Safetensors(mlx)
    plain = logits(flashmoe, mlx, work)
    for kind in ('layers', 'files', '2bit', 'lz4'):
        folder = os.path.join(work, kind)
        subprocess.run([writer, mlx, folder, kind], check=True)
        bits = 2 if kind == '2bit' else 4
        print(f'{kind}: {check_dense(folder, source)} dense tensors and {check_experts(folder, source, config, bits)} '
              f'experts are as described', end='')
        if bits == 4:
            assert np.array_equal(logits(flashmoe, folder, work), plain)
            print('; logits are those of the MLX model to the bit', end='')
        print(flush=True)
    shutil.rmtree(work)


if __name__ == '__main__':
    main()
