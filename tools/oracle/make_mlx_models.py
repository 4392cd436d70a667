#!/usr/bin/env python3
"""Makes tests/golden/models/mlx_*: tiny random models quantised by mlx, in MLX's published layout.

usage: make_mlx_models.py [NAME...]

The reference logits are transformers' in float32, with code * scale + bias computed in float32.
mlx-lm loads every folder too and, switched to float32, must agree.
"""
import collections
import os
import pathlib
import sys

import mlx.core as mx
import mlx.utils
import numpy as np
import torch
from mlx_lm.utils import load_model

import goldens
import layouts
import reference
from make_models import MROPE, QWEN3_5_MOE, QWEN3_MOE, QWEN3_NEXT, without, wrapped

# Every width with every group, dealt out to the matrices that they fit.
COMBINATIONS = [(bits, group) for group in (32, 64, 128) for bits in (2, 3, 4, 5, 6, 8)]

ROUTERS = ('mlp.gate', 'mlp.shared_expert_gate')

# name: (what it covers, config.json, quantization, options). Of the options, `type` is that of
# scales, biases and all else that is not quantised; `mixed` deals COMBINATIONS; `shards` says into
# how many files; `keep` leaves paths unquantised.
GOLDENS = {
    'mlx_qwen3_moe_4bit_bf16': (
        'qwen3_moe, 4-bit, group 64, routers 8-bit by override; no `mode` in the config, bf16, '
        'untied, norm_topk_prob true',
        {**QWEN3_MOE, 'hidden_size': 64, 'head_dim': 32, 'num_key_value_heads': 2,
         'moe_intermediate_size': 64, 'rope_theta': 1000000.0, 'num_hidden_layers': 2},
        {'group_size': 64, 'bits': 4}, {'type': mx.bfloat16}),
    'mlx_qwen3_moe_mixed_f16': (
        'qwen3_moe, all widths with all groups by override, f16; tied and quantised embedding, a '
        'dense layer, one path overridden to false',
        {**QWEN3_MOE, 'hidden_size': 128, 'head_dim': 32, 'num_key_value_heads': 2,
         'moe_intermediate_size': 32, 'intermediate_size': 64, 'tie_word_embeddings': True,
         'mlp_only_layers': [0], 'rope_theta': 10000.0, 'norm_topk_prob': False},
        {'group_size': 32, 'bits': 5, 'mode': 'affine'},
        {'type': mx.float16, 'mixed': True, 'keep': ('model.layers.1.self_attn.k_proj',)}),
    'mlx_qwen3_next_mixed_bf16': (
        'qwen3_next, all widths with all groups by override, bf16; in_proj_qkvz and in_proj_ba, '
        'norms stored as 1 + w, conv1d [C, K, 1]',
        {**QWEN3_NEXT, 'hidden_size': 128, 'num_hidden_layers': 3, 'vocab_size': 64,
         'full_attention_interval': 3,
         'moe_intermediate_size': 32, 'shared_expert_intermediate_size': 32},
        {'group_size': 32, 'bits': 4, 'mode': 'affine'}, {'type': mx.bfloat16, 'mixed': True}),
    'mlx_qwen3_next_2bit_f16': (
        'qwen3_next, 2-bit, group 32, f16; key heads = value heads, tied, two shards',
        {**QWEN3_NEXT, 'hidden_size': 64, 'num_hidden_layers': 2, 'full_attention_interval': 2,
         'linear_num_value_heads': 2, 'moe_intermediate_size': 32,
         'shared_expert_intermediate_size': 32, 'tie_word_embeddings': True},
        {'group_size': 32, 'bits': 2, 'mode': 'affine'}, {'type': mx.float16, 'shards': 2}),
    'mlx_qwen3_5_moe_4bit_bf16': (
        'qwen3_5_moe as MLX publishes it: 4-bit, group 64, routers and shared-expert gates 8-bit '
        'by override; text_config inside, language_model.model.*, language_model.lm_head, A_log in '
        'f32',
        wrapped({**QWEN3_5_MOE, 'hidden_size': 64, 'moe_intermediate_size': 64,
                 'shared_expert_intermediate_size': 64, 'num_hidden_layers': 3,
                 'full_attention_interval': 3,
                 'rope_parameters': {**QWEN3_5_MOE['rope_parameters'], **MROPE}}),
        {'group_size': 64, 'bits': 4, 'mode': 'affine'}, {'type': mx.bfloat16}),
    'mlx_qwen3_5_moe_partly_3bit_bf16': (
        'qwen3_5_moe, 3-bit, group 64; matrices whose input is no multiple of 64 stay in bf16 '
        '(down_proj with intermediate 40, o_proj, out_proj); tied, vocabulary 101, 10 experts, '
        'three shards',
        wrapped({**QWEN3_5_MOE, 'hidden_size': 64, 'num_hidden_layers': 2, 'vocab_size': 101,
                 'full_attention_interval': 2, 'num_experts': 10, 'num_experts_per_tok': 3,
                 'num_attention_heads': 3, 'num_key_value_heads': 1, 'linear_num_key_heads': 1,
                 'linear_num_value_heads': 3, 'moe_intermediate_size': 40,
                 'shared_expert_intermediate_size': 40, 'tie_word_embeddings': True}),
        {'group_size': 64, 'bits': 3, 'mode': 'affine'}, {'type': mx.bfloat16, 'shards': 3}),
    'mlx_qwen3_5_moe_mixed_bf16': (
        'qwen3_5_moe, all widths with all groups by override, bf16; key dim 32, value dim 16',
        wrapped({**QWEN3_5_MOE, 'hidden_size': 128, 'num_hidden_layers': 2,
                 'full_attention_interval': 2, 'moe_intermediate_size': 32,
                 'shared_expert_intermediate_size': 64, 'linear_key_head_dim': 32}),
        {'group_size': 64, 'bits': 6, 'mode': 'affine'}, {'type': mx.bfloat16, 'mixed': True}),
}


def mlx_name(name, wrapper):
    if not wrapper:
        return name
    return name.replace('model.', 'language_model.model.', 1) if name.startswith('model.') else (
        'language_model.' + name)


def mlx_weights(config, weights, dtype):
    """Canonical float32 weights to MLX's names, shapes and norm convention, in `dtype`."""
    wrapper, family = 'text_config' in config, reference.family_of(config)
    out = {}
    for name, tensor in weights.items():
        base = name.rpartition('.')[0]
        if name.endswith('experts.gate_up_proj'):
            base = base.removesuffix('experts') + 'switch_mlp.'
            gate, up = tensor.chunk(2, dim=1)
            parts = {base + 'gate_proj.weight': gate, base + 'up_proj.weight': up}
        elif name.endswith('experts.down_proj'):
            parts = {base.removesuffix('experts') + 'switch_mlp.down_proj.weight': tensor}
        elif name.endswith('conv1d.weight'):
            parts = {name: tensor.transpose(1, 2)}
        elif name.endswith('norm.weight') and family != 'qwen3_moe' and 'linear_attn' not in name:
            parts = {name: 1 + tensor}
        else:
            parts = {name: tensor}
        for part, value in parts.items():
            keeps = family == 'qwen3_5_moe' and part.endswith('A_log')
            array = mx.array(value.contiguous().numpy())
            out[mlx_name(part, wrapper)] = array if keeps else array.astype(dtype)
    return out


def is_matrix(name):
    return name.endswith(('proj.weight', 'proj_qkvz.weight', 'proj_ba.weight', 'proj_qkv.weight',
                          'proj_z.weight', 'proj_b.weight', 'proj_a.weight', 'gate.weight',
                          'embed_tokens.weight', 'lm_head.weight'))


def quantize(weights, quantization, options):
    """(quantised tensors, config.json's quantization with its overrides)"""
    out, entries, used = {}, dict(quantization), collections.Counter()
    for name, weight in weights.items():
        path, columns = name.removesuffix('.weight'), weight.shape[-1]
        if not is_matrix(name):
            out[name] = weight
            continue
        group, bits = quantization['group_size'], quantization['bits']
        if path in options.get('keep', ()):
            entries[path] = False
            out[name] = weight
            continue
        if path.endswith(ROUTERS):
            group, bits = 64, 8
        elif options.get('mixed'):
            fitting = [c for c in COMBINATIONS if columns % c[1] == 0]
            bits, group = min(fitting, key=lambda c: (used[c], -c[1]))  # the wide groups fit few
            used[bits, group] += 1
        if columns % group:
            out[name] = weight
            continue
        if (group, bits) != (quantization['group_size'], quantization['bits']):
            entries[path] = {'group_size': group, 'bits': bits}
        out[name], out[path + '.scales'], out[path + '.biases'] = mx.quantize(
            weight, group_size=group, bits=bits)
    assert not options.get('mixed') or set(used) == set(COMBINATIONS), used
    return out, entries


def save_shards(folder, tensors, shards):
    """As mlx-lm writes them: unpadded headers, and an index even for one file."""
    names = list(tensors)
    weight_map = {}
    for i in range(shards):
        file = f'model-{i + 1:05}-of-{shards:05}.safetensors'
        file = 'model.safetensors' if shards == 1 else file
        part = names[i * len(names) // shards:(i + 1) * len(names) // shards]
        mx.save_safetensors(os.path.join(folder, file), {n: tensors[n] for n in part},
                            metadata={'format': 'mlx'})
        weight_map.update({n: file for n in part})
    goldens.write_json(folder, 'model.safetensors.index.json', {
        'metadata': {'total_size': sum(t.nbytes for t in tensors.values())},
        'weight_map': dict(sorted(weight_map.items()))})


def check_dequantisation(tensors, entries):
    """layouts.py against mlx itself, in float32; they may differ by a fused multiply-add."""
    for name in tensors:
        path = name.removesuffix('.weight')
        if path + '.scales' not in tensors:
            continue
        entry = entries.get(path) or entries
        words, scales, biases = (tensors[f'{path}.{k}'] for k in ('weight', 'scales', 'biases'))
        theirs = np.array(mx.dequantize(words, scales.astype(mx.float32), biases.astype(mx.float32),
                                        group_size=entry['group_size'], bits=entry['bits']))
        scales, biases = (np.array(t.astype(mx.float32)) for t in (scales, biases))
        ours = layouts.dequantize(torch.from_numpy(np.array(words)), torch.from_numpy(scales),
                                  torch.from_numpy(biases), entry['bits']).numpy()
        size = np.abs(biases).max()  # the sum may cancel: an ulp of the larger term
        assert np.abs(theirs - ours).max() <= 2e-7 * max(size, np.abs(ours).max()), name


def mlx_lm_error(folder, ids, logits):
    """Relative error of mlx-lm's logits, computed in float32 from the folder."""
    model, _ = load_model(pathlib.Path(folder))
    model.update(mlx.utils.tree_map(
        lambda p: p.astype(mx.float32) if mx.issubdtype(p.dtype, mx.floating) else p,
        model.parameters()))
    theirs = np.array(model(mx.array(ids)[None])[0].astype(mx.float32))
    return reference.relative_error(theirs, logits)


def make(name):
    covers, config, quantization, options = GOLDENS[name]
    for seed in range(100):
        tensors, entries = quantize(
            mlx_weights(config, goldens.random_weights(config, seed), options['type']),
            quantization, options)
        written = {**config, 'quantization': entries, 'quantization_config': entries}
        folder = goldens.new_folder(name)
        goldens.write_json(folder, 'config.json', written)
        save_shards(folder, tensors, options.get('shards', 1))
        run = goldens.reference_run(config, layouts.load(folder)[1], seed)
        if run:
            break
    else:
        sys.exit(f'{name}: no seed without near ties')
    ids, logits, checks = run
    check_dequantisation(tensors, entries)
    checks['mlx_lm_in_float32'] = mlx_lm_error(folder, ids, logits)
    assert checks['mlx_lm_in_float32'] < 1e-4, (name, checks)
    goldens.write_run(folder, ids, logits, {
        'covers': covers, 'made_by': 'tools/oracle/make_mlx_models.py', 'seed': seed,
        'reference': 'transformers, float32, eager, of code * scale + bias computed in float32',
        'checks': checks, 'versions': {**reference.versions(), 'mlx': mx.__version__}})
    print(f'{name}: seed {seed}, {goldens.folder_bytes(folder)} bytes, {checks}', flush=True)


if __name__ == '__main__':
    mx.set_default_device(mx.cpu)
    for golden in sys.argv[1:] or GOLDENS:
        make(golden)
