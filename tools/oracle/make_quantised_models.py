#!/usr/bin/env python3
"""Makes the goldens of quantised checkpoints that other tools than MLX's affine mode write.

usage: make_quantised_models.py [NAME...]

Each matrix is quantised and dequantised by the format's own project, and the reference logits are
transformers' in float32 on the dequantised weights:
  fp8_*     transformers' dequantisation of fine-grained fp8
  mlx_*     mlx.core.dequantize (mxfp4, mxfp8, nvfp4)
  gptq_*    auto-gptq's QuantLinear, applied to the unit matrix
  awq_*     autoawq's dequantize_gemm
  packed_*, float_*  compressed-tensors' compressors
Of auto-gptq and autoawq single files are loaded, since the packages want older transformers. Needs
what requirements.txt has, and `pip install --no-deps auto-gptq autoawq compressed-tensors`.
"""
import importlib.util
import os
import re
import site
import sys

import mlx.core as mx
import numpy as np
import torch

import goldens
import layouts
import reference
from make_mlx_models import is_matrix, mlx_weights, save_shards as save_mlx
from make_models import QWEN3_5_MOE, QWEN3_MOE, QWEN3_NEXT, wrapped

SMALL = {**QWEN3_MOE, 'hidden_size': 64, 'head_dim': 32, 'num_key_value_heads': 2,
         'moe_intermediate_size': 32, 'num_hidden_layers': 2}


def package_file(path):
    """A module from one file of an installed package, without the package."""
    for folder in site.getsitepackages():
        file = os.path.join(folder, path)
        if os.path.exists(file):
            spec = importlib.util.spec_from_file_location(os.path.basename(path)[:-3], file)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    sys.exit(f'{path} is not installed')


def grid(weight, group, levels, generator, symmetric=False):
    """Scales and zeros [out, groups] of min/max rounding, scales as f16 values."""
    parts = weight.reshape(weight.shape[0], -1, group)
    low, high = parts.amin(-1).clamp(max=0), parts.amax(-1).clamp(min=0)
    if symmetric:
        high = torch.maximum(high, -low)
        low = -high
    scale = ((high - low) / (levels - 1)).clamp(min=1e-4).half().float()
    zero = torch.round(-low / scale).clamp(1, levels - 1)  # 0 cannot be stored as zero - 1
    return scale, zero


# One function for each format: (path, weight [out, in] float32, settings) to ({suffix: tensor},
# dequantised weight).

def fp8_blocks(path, weight, settings):
    from transformers.integrations.finegrained_fp8 import _dequantize_fp8_weight
    rows, cols = weight.shape
    padded = torch.zeros(-(-rows // 128) * 128, -(-cols // 128) * 128)
    padded[:rows, :cols] = weight
    blocks = padded.reshape(padded.shape[0] // 128, 128, padded.shape[1] // 128, 128)
    scale = (blocks.abs().amax((1, 3)) / 448).clamp(min=1e-6).to(settings['scales'])
    codes = (blocks / scale.float()[:, None, :, None]).to(torch.float8_e4m3fn).reshape(padded.shape)
    decoded = _dequantize_fp8_weight(codes, scale.float(), [128, 128], torch.float32)
    return ({'.weight': codes[:rows, :cols].contiguous(), '.weight_scale_inv': scale},
            decoded[:rows, :cols].contiguous())


_auto_gptq = None


def gptq(path, weight, settings):
    global _auto_gptq
    if _auto_gptq is None:
        _auto_gptq = package_file('auto_gptq/nn_modules/qlinear/qlinear_cuda.py').QuantLinear
    rows, cols = weight.shape
    choice = {'bits': 4, 'group': 32, **settings}
    for pattern, own in settings.get('own', {}).items():
        if re.search(pattern, path):
            choice.update(own)
    bits, group = choice['bits'], choice['group'] if choice['group'] > 0 else cols
    generator = torch.Generator().manual_seed(len(path) + rows)
    order = torch.randperm(cols, generator=generator) if settings.get('act_order') else (
        torch.arange(cols))
    g_idx = torch.empty(cols, dtype=torch.int32)
    g_idx[order] = torch.arange(cols, dtype=torch.int32) // group
    scale, zero = grid(weight[:, order], group, 1 << bits, generator)
    linear = torch.nn.Linear(cols, rows, bias=False)
    linear.weight.data = weight.clone()
    layer = _auto_gptq(bits, choice['group'], cols, rows, False, weight_dtype=torch.float32)
    layer.pack(linear, scale, zero, g_idx)
    layer.scales = layer.scales.float()
    layer.autogptq_cuda_available = False
    decoded = layer(torch.eye(cols)).t().contiguous().float()
    qzeros = layer.qzeros
    if settings.get('v2'):  # the same zeros, not less one: as GPTQModel converts them
        field = sum(1 << (bits * i) for i in range(32 // bits))
        qzeros = (qzeros.numpy().view(np.uint32) + np.uint32(field)).view(np.int32)
        qzeros = torch.from_numpy(qzeros)
    return ({'.qweight': layer.qweight, '.qzeros': qzeros, '.scales': layer.scales.half(),
             '.g_idx': g_idx}, decoded)


_awq = None


def awq(path, weight, settings):
    global _awq
    if _awq is None:
        _awq = package_file('awq/utils/packing_utils.py')
    rows, cols = weight.shape
    group = settings['group']
    scale, zero = grid(weight, group, 16, None)
    codes = torch.round(weight / scale.repeat_interleave(group, 1)
                        + zero.repeat_interleave(group, 1)).clamp(0, 15)

    def pack(values):  # [n, out] to words of eight outputs, in AutoAWQ's order
        eights = values.to(torch.int64).reshape(values.shape[0], -1, 8)[:, :, _awq.AWQ_ORDER]
        words = (eights << (4 * torch.arange(8))).sum(-1)
        return (words & 0xffffffff).numpy().astype(np.uint32).view(np.int32)

    qweight, qzeros = (torch.from_numpy(pack(v.t().contiguous())) for v in (codes, zero))
    scales = scale.t().contiguous()
    decoded = _awq.dequantize_gemm(qweight, qzeros, scales, 4, group).t().contiguous()
    return {'.qweight': qweight, '.qzeros': qzeros, '.scales': scales.half()}, decoded


def scheme_of(weights, format_name, activations=None):
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    return QuantizationScheme(
        targets=['Linear'], weights=QuantizationArgs(**weights), format=format_name,
        input_activations=QuantizationArgs(**activations) if activations else None)


def compressed(path, weight, settings):
    """compressed-tensors: scales and zero points by min and max, the rest by its compressor."""
    from compressed_tensors.compressors import (FloatQuantizationCompressor,
                                                PackedQuantizationCompressor)
    args = dict(settings['args'])
    for pattern, own in settings.get('own', {}).items():
        if re.search(pattern, path):
            args = dict(own)
    rows, cols = weight.shape
    strategy = args['strategy']
    state = {'weight': weight.to(settings['type']).float()}
    if args.get('type') == 'float':
        if strategy == 'tensor':
            amax = weight.abs().amax().reshape(1)
        elif strategy == 'channel':
            amax = weight.abs().amax(1, keepdim=True)
        else:
            amax = weight.reshape(rows // 128, 128, cols // 128, 128).abs().amax((1, 3))
        state['weight_scale'] = (amax / 448).clamp(min=1e-6).to(settings['type']).float()
        compressor, name = FloatQuantizationCompressor, 'float-quantized'
    else:
        group = args['group_size'] if strategy == 'group' else cols
        scale, zero = grid(weight, group, 1 << args['num_bits'], None, args['symmetric'])
        state['weight_scale'] = scale.to(settings['type']).float()
        if not args['symmetric']:
            state['weight_zero_point'] = (zero - (1 << (args['num_bits'] - 1))).to(torch.int8)
        compressor, name = PackedQuantizationCompressor, 'pack-quantized'
    scheme = scheme_of(args, name)
    stored = compressor.compress(state, scheme)
    decoded = compressor.decompress(stored, scheme)['weight'].float()
    stored['weight_scale'] = stored['weight_scale'].to(settings['type'])
    return {'.' + k: v for k, v in stored.items()}, decoded


HF_UNQUANTISED = ('mlp.gate', 'mlp.shared_expert_gate', 'embed_tokens', 'lm_head')
CT = {'quant_method': 'compressed-tensors', 'quantization_status': 'compressed', 'ignore':
      ['lm_head', 're:.*mlp.gate$']}

# name: (what it covers, config.json, quantization_config, quantiser, its settings).
GOLDENS = {
    'fp8_qwen3_moe_blocks_bf16': (
        'fp8 with 128 x 128 blocks, cut at both edges, BF16 factors',
        {**SMALL, 'hidden_size': 160, 'moe_intermediate_size': 136, 'num_experts': 4,
         'num_hidden_layers': 1, 'head_dim': 40},
        {'quant_method': 'fp8', 'fmt': 'e4m3', 'weight_block_size': [128, 128],
         'activation_scheme': 'dynamic', 'modules_to_not_convert': ['lm_head']},
        fp8_blocks, {'scales': torch.bfloat16}),
    'fp8_qwen3_5_moe_blocks_f32': (
        'fp8 with 128 x 128 blocks, F32 factors; gated attention and delta net, one tensor per expert',
        wrapped({**QWEN3_5_MOE, 'hidden_size': 144, 'num_hidden_layers': 2, 'num_experts': 4,
                 'full_attention_interval': 2, 'moe_intermediate_size': 24,
                 'shared_expert_intermediate_size': 24}),
        {'quant_method': 'fp8', 'fmt': 'e4m3', 'weight_block_size': [128, 128],
         'activation_scheme': 'dynamic'},
        fp8_blocks, {'scales': torch.float32}),
    'gptq_qwen3_moe_4bit': (
        'GPTQ, 4 bits in groups of 32, zeros less one', SMALL,
        {'quant_method': 'gptq', 'bits': 4, 'group_size': 32, 'desc_act': False, 'sym': False,
         'checkpoint_format': 'gptq'},
        gptq, {}),
    'gptq_qwen3_moe_mixed': (
        'GPTQ with 2, 3, 4 and 8 bits, groups of 32, 64 and whole rows, by `dynamic`', SMALL,
        {'quant_method': 'gptq', 'bits': 4, 'group_size': 32, 'desc_act': False, 'sym': False,
         'dynamic': {'+:.*gate_proj': {'bits': 3}, '+:.*up_proj': {'bits': 2}}},
        gptq, {'own': {'experts.*gate_proj': {'bits': 3, 'group': 64},
                       'experts.*up_proj': {'bits': 2}, 'down_proj': {'bits': 8},
                       'o_proj': {'group': -1}}}),
    'gptq_qwen3_next_act_order_v2': (
        'GPTQ with desc_act, zeros as they are, gated attention and delta net',
        {**QWEN3_NEXT, 'hidden_size': 64, 'num_hidden_layers': 2, 'full_attention_interval': 2,
         'linear_num_value_heads': 4, 'moe_intermediate_size': 64, 'num_experts': 4,
         'shared_expert_intermediate_size': 32, 'tie_word_embeddings': True},
        {'quant_method': 'gptq', 'bits': 4, 'group_size': 32, 'desc_act': True, 'sym': False,
         'checkpoint_format': 'gptq_v2'},
        gptq, {'act_order': True, 'v2': True, 'keep': ('in_proj_ba',)}),
    'awq_qwen3_moe': (
        'AWQ, gemm, groups of 32', SMALL,
        {'quant_method': 'awq', 'bits': 4, 'group_size': 32, 'zero_point': True,
         'version': 'gemm', 'modules_to_not_convert': ['gate']},
        awq, {'group': 32}),
    'packed_qwen3_moe_groups_f16': (
        'compressed-tensors pack-quantized: 4 bits in groups of 32 with zero points; down 8 bits, '
        'symmetric, a scale a row', SMALL,
        {**CT, 'format': 'pack-quantized', 'config_groups': {
            'group_0': {'targets': ['Linear'], 'weights': {
                'num_bits': 4, 'type': 'int', 'symmetric': False, 'strategy': 'group',
                'group_size': 32}},
            'group_1': {'targets': ['re:.*down_proj$'], 'weights': {
                'num_bits': 8, 'type': 'int', 'symmetric': True, 'strategy': 'channel'}}}},
        compressed, {'type': torch.float16, 'args': {
            'num_bits': 4, 'type': 'int', 'symmetric': False, 'strategy': 'group',
            'group_size': 32}, 'own': {'down_proj': {
                'num_bits': 8, 'type': 'int', 'symmetric': True, 'strategy': 'channel'}}}),
    'packed_qwen3_moe_symmetric_bf16': (
        'compressed-tensors pack-quantized, 4 bits, symmetric, groups of 64', {
            **SMALL, 'moe_intermediate_size': 64, 'num_experts': 4},
        {**CT, 'format': 'pack-quantized', 'config_groups': {'group_0': {
            'targets': ['Linear'], 'weights': {
                'num_bits': 4, 'type': 'int', 'symmetric': True, 'strategy': 'group',
                'group_size': 64}}}},
        compressed, {'type': torch.bfloat16, 'args': {
            'num_bits': 4, 'type': 'int', 'symmetric': True, 'strategy': 'group',
            'group_size': 64}}),
    'float_qwen3_moe_mixed_bf16': (
        'compressed-tensors float-quantized: a scale a row, a tensor (down), a block (attention)',
        {**SMALL, 'hidden_size': 128, 'num_hidden_layers': 1, 'num_experts': 4,
         'num_attention_heads': 4, 'num_key_value_heads': 4},
        {**CT, 'format': 'float-quantized', 'config_groups': {'group_0': {
            'targets': ['Linear'], 'weights': {
                'num_bits': 8, 'type': 'float', 'symmetric': True, 'strategy': 'channel'}}}},
        compressed, {'type': torch.bfloat16, 'args': {
            'num_bits': 8, 'type': 'float', 'symmetric': True, 'strategy': 'channel'},
            'own': {'down_proj': {
                'num_bits': 8, 'type': 'float', 'symmetric': True, 'strategy': 'tensor'},
                'self_attn': {'num_bits': 8, 'type': 'float', 'symmetric': True,
                              'strategy': 'block', 'block_structure': [128, 128]}}}),
}

# name: (what it covers, config.json, mode, whether experts have global scales)
MLX_GOLDENS = {
    'mlx_qwen3_moe_mxfp4': ('mxfp4, routers affine 8-bit by an override without mode', SMALL,
                            'mxfp4', False),
    'mlx_qwen3_moe_mxfp8': ('mxfp8, routers affine 8-bit by an override without mode', {
        **SMALL, 'num_experts': 4}, 'mxfp8', False),
    'mlx_qwen3_5_moe_nvfp4': (
        'nvfp4, routers affine 8-bit; an intermediate of 48, no multiple of 32', wrapped({
            **QWEN3_5_MOE, 'hidden_size': 64, 'num_hidden_layers': 2, 'num_experts': 4,
            'full_attention_interval': 2, 'moe_intermediate_size': 48,
            'shared_expert_intermediate_size': 48}), 'nvfp4', False),
    'mlx_qwen3_moe_nvfp4_global': ('nvfp4 with a global scale for each expert', SMALL, 'nvfp4',
                                   True),
}


def hugging_face_parts(weights):
    """Canonical weights with one tensor for each matrix of each expert."""
    out = {}
    for name, tensor in weights.items():
        base = name.rpartition('.')[0]
        if name.endswith('experts.gate_up_proj'):
            for e, expert in enumerate(tensor):
                gate, up = expert.chunk(2)
                out[f'{base}.{e}.gate_proj.weight'] = gate.contiguous()
                out[f'{base}.{e}.up_proj.weight'] = up.contiguous()
        elif name.endswith('experts.down_proj'):
            for e, expert in enumerate(tensor):
                out[f'{base}.{e}.down_proj.weight'] = expert.contiguous()
        else:
            out[name] = tensor
    return out


def write_model(name, covers, config, written_config, make):
    """`make(seed, folder)` writes the weights and returns canonical dequantised ones."""
    for seed in range(100):
        folder = goldens.new_folder(name)
        canonical = make(seed, folder)
        run = goldens.reference_run(config, canonical, seed)
        if run:
            break
    else:
        sys.exit(f'{name}: no seed without near ties')
    ids, logits, checks = run
    goldens.write_json(folder, 'config.json', written_config)
    goldens.write_run(folder, ids, logits, {
        'covers': covers, 'made_by': 'tools/oracle/make_quantised_models.py', 'seed': seed,
        'reference': "transformers, float32, eager, of weights that the format's own project "
                     'dequantised', 'checks': checks, 'versions': reference.versions()})
    print(f'{name}: seed {seed}, {goldens.folder_bytes(folder)} bytes, {checks}', flush=True)


def make_hugging_face(name):
    covers, config, quantization, quantiser, settings = GOLDENS[name]
    wrapper = 'text_config' in config

    def make(seed, folder):
        stored, decoded = {}, {}
        weights = goldens.random_weights(config, seed)
        for part, weight in hugging_face_parts(weights).items():
            path = part.removesuffix('.weight')
            theirs = 'model.language_model.' + path.removeprefix('model.') if (
                wrapper and path.startswith('model.')) else path
            keep = HF_UNQUANTISED + settings.get('keep', ())
            if part.endswith('.weight') and weight.ndim == 2 and is_matrix(part) and (
                    not path.endswith(keep)):
                tensors, decoded[part] = quantiser(path, weight, settings)
                stored.update({theirs + k: v for k, v in tensors.items()})
            else:
                kept = weight.bfloat16()
                suffix = part[len(path):]
                stored[theirs + suffix], decoded[part] = kept, kept.float()
        goldens.save_shards(folder, stored, 1)
        return layouts.fuse_experts(decoded)

    write_model(name, covers, config, {**config, 'quantization_config': quantization}, make)


def make_mlx(name):
    covers, config, mode, global_scales = MLX_GOLDENS[name]
    group, bits = {'mxfp4': (32, 4), 'mxfp8': (32, 8), 'nvfp4': (16, 4)}[mode]
    entries = {'group_size': group, 'bits': bits, 'mode': mode}

    def dequantise(words, scales, factor=None):
        return mx.dequantize(words, scales, mode=mode, global_scale=factor, dtype=mx.float32)

    def make(seed, folder):
        stored, plain = {}, {}
        weights = mlx_weights(config, goldens.random_weights(config, seed), mx.bfloat16)
        for part, weight in weights.items():
            path = part.removesuffix('.weight')
            if not is_matrix(part):
                stored[part] = plain[part] = weight
            elif path.endswith(('mlp.gate', 'mlp.shared_expert_gate')):
                entries[path] = {'group_size': 64, 'bits': 8}
                words, scales, biases = mx.quantize(weight, group_size=64, bits=8)
                stored.update({part: words, path + '.scales': scales, path + '.biases': biases})
                plain[part] = mx.dequantize(words, scales.astype(mx.float32),
                                            biases.astype(mx.float32), group_size=64, bits=8)
            elif global_scales and weight.ndim == 3:
                factors = mx.max(mx.abs(weight), axis=(-2, -1)).astype(mx.float32)
                pairs = [mx.quantize(w, mode=mode, global_scale=f) for w, f in zip(weight, factors)]
                stored.update({part: mx.stack([q for q, _ in pairs]),
                               path + '.scales': mx.stack([s for _, s in pairs]),
                               path + '.global_scale': factors})
                plain[part] = mx.stack([dequantise(q, s, f) for (q, s), f in zip(pairs, factors)])
            else:
                words, scales = mx.quantize(weight, mode=mode)
                stored.update({part: words, path + '.scales': scales})
                plain[part] = dequantise(words, scales)
        save_mlx(folder, stored, 1)
        tensors = {n: torch.from_numpy(np.array(a.astype(mx.float32))) for n, a in plain.items()}
        return layouts.canonical(config, tensors)

    write_model(name, covers, config,
                {**config, 'quantization': entries, 'quantization_config': entries}, make)


if __name__ == '__main__':
    mx.set_default_device(mx.cpu)
    for golden in sys.argv[1:] or [*GOLDENS, *MLX_GOLDENS]:
        (make_mlx if golden in MLX_GOLDENS else make_hugging_face)(golden)
