"""Reads a checkpoint folder in any layout this project runs, into float32 under canonical names.

Layouts: Hugging Face's (fused or per-expert names, plain or in a multimodal wrapper) and MLX's
(affine quantised or not). Canonical names are those of reference.py. Easy to get wrong:
  - Whether a matrix is quantised is told by its `.scales`. Bits follow from the shapes once the
    group is known, which config.json's `quantization` says, with overrides per path.
  - value = code * scale + bias, in float32. Codes are one little-endian bit stream per row.
  - MLX stores the convolution as [C, K, 1], and 1 + w where the family's norms are (1 + w).
"""
import json
import os
import re

import numpy as np
import torch
from safetensors import safe_open

import reference

PREFIXES = ('language_model.model.', 'model.language_model.', 'model.')
HEADS = ('language_model.lm_head.', 'lm_head.')
UNUSED = ('model.visual.', 'vision_tower.', 'mtp.', 'language_model.mtp.')


def load(folder):
    """(config, {canonical name: float32 tensor})"""
    with open(os.path.join(folder, 'config.json')) as f:
        config = json.load(f)
    return config, canonical(config, read_tensors(folder))


def read_tensors(folder):
    """All tensors of the folder under the names and in the types of the file."""
    index = os.path.join(folder, 'model.safetensors.index.json')
    if os.path.exists(index):
        with open(index) as f:
            files = sorted(set(json.load(f)['weight_map'].values()))
    else:
        files = ['model.safetensors']
    tensors = {}
    for file in files:
        with safe_open(os.path.join(folder, file), 'pt') as shard:
            tensors.update({name: shard.get_tensor(name) for name in shard.keys()})
    return tensors


def unpack(words, bits):
    """The codes of packed rows: uint32 [..., words] to float32 [..., words * 32 / bits]."""
    stream = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=-1, bitorder='little')
    stream = stream.reshape(*words.shape[:-1], -1, bits)
    return (stream * (1 << np.arange(bits))).sum(-1).astype(np.float32)


def dequantize(words, scales, biases, bits):
    """float32 [..., in], of codes and of 16-bit or float32 scales and biases [..., in / group]."""
    codes = unpack(words.numpy(), bits)
    group = codes.shape[-1] // scales.shape[-1]
    scale, bias = (np.repeat(t.float().numpy(), group, axis=-1) for t in (scales, biases))
    return torch.from_numpy(codes * scale + bias)


def bits_of(config, path, words, scales):
    quantization = config.get('quantization') or config.get('quantization_config')
    entry = quantization.get(path)
    entry = entry if isinstance(entry, dict) else quantization
    if entry.get('mode', 'affine') != 'affine':
        raise SystemExit(f'{path}: mode {entry["mode"]} is not supported here, only affine')
    # Words a row = values * bits / 32, and values = scales a row * group.
    return words.shape[-1] * 32 // (scales.shape[-1] * entry['group_size'])


def canonical(config, tensors):
    dense = {}
    for name, tensor in tensors.items():
        path, _, kind = name.rpartition('.')
        if name.startswith(UNUSED):
            continue
        if kind in ('scales', 'biases') and path + '.scales' in tensors:
            continue
        if kind == 'weight' and path + '.scales' in tensors:
            scales, biases = tensors[path + '.scales'], tensors[path + '.biases']
            tensor = dequantize(tensor, scales, biases, bits_of(config, path, tensor, scales))
        dense[canonical_name(name)] = tensor.float()

    mlx = any('switch_mlp' in n for n in dense)
    if mlx:
        plus_one = reference.family_of(config) != 'qwen3_moe'
        for name, tensor in dense.items():
            if name.endswith('conv1d.weight'):
                dense[name] = tensor.transpose(1, 2)
            elif plus_one and name.endswith('norm.weight') and 'linear_attn' not in name:
                dense[name] = tensor - 1
    return fuse_experts(dense)


def canonical_name(name):
    for prefix in PREFIXES:
        if name.startswith(prefix):
            return 'model.' + name.removeprefix(prefix)
    for head in HEADS:
        if name.startswith(head):
            return 'lm_head.' + name.removeprefix(head)
    raise SystemExit(f'{name}: no part of a text model that this tool knows')


def fuse_experts(tensors):
    """Per-expert and switch_mlp names to experts.gate_up_proj and experts.down_proj."""
    out, parts = {}, {}
    for name, tensor in tensors.items():
        one = re.fullmatch(r'(.*\.experts)\.(\d+)\.(gate|up|down)_proj\.weight', name)
        many = re.fullmatch(r'(.*)\.switch_mlp\.(gate|up|down)_proj\.weight', name)
        if one:
            parts.setdefault(one[1], {}).setdefault(one[3], {})[int(one[2])] = tensor
        elif many:
            parts.setdefault(many[1] + '.experts', {})[many[2]] = dict(enumerate(tensor))
        else:
            out[name] = tensor
    for base, kinds in parts.items():
        stacked = {kind: torch.stack([experts[i] for i in range(len(experts))])
                   for kind, experts in kinds.items()}
        out[base + '.gate_up_proj'] = torch.cat([stacked['gate'], stacked['up']], dim=1)
        out[base + '.down_proj'] = stacked['down']
    return out
