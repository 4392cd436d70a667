#!/usr/bin/env python3
"""Makes tests/golden/models/gguf_*: tiny random models as GGUF, of every architecture and layout.

usage: make_gguf_models.py [NAME...]

Types that the gguf package can write are quantised by it; K and IQ types are random valid blocks. The logits
are transformers' in float32, of the weights as the gguf package dequantises them.
"""
import os
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

import goldens
import gguf_layout
import reference
from make_models import QWEN3_5_MOE, QWEN3_MOE, QWEN3_NEXT

# Offsets of the float16 scales in a block of each type, and their sizes against each other: with these
# the mean of the weights is near 0. All other bytes may be any.
SCALES = {
    'Q2_K': {80: 1, 82: 1.5}, 'Q3_K': {108: 1}, 'Q4_K': {0: 1, 2: 7.5}, 'Q5_K': {0: 1, 2: 15.5},
    'Q6_K': {208: 1}, 'IQ1_S': {0: 1}, 'IQ2_XXS': {0: 1}, 'IQ2_XS': {0: 1}, 'IQ2_S': {0: 1},
    'IQ3_XXS': {0: 1}, 'IQ3_S': {0: 1}, 'IQ4_NL': {0: 1}, 'IQ4_XS': {0: 1}, 'TQ1_0': {52: 1},
    'TQ2_0': {64: 1}, 'IQ1_M': {}, 'NVFP4': {},
}
WIDE = {'hidden_size': 256, 'num_hidden_layers': 3, 'head_dim': 32, 'num_attention_heads': 2,
        'num_key_value_heads': 1, 'vocab_size': 101, 'moe_intermediate_size': 32, 'num_experts': 6}

# name: (what it covers, config, options). `types` maps endings of names to types, the first that
# fits counts, '' is all others; `layout` goes to gguf_layout.to_gguf; `parts`, alignments of the
# files; `mtp`, whether a layer that predicts further tokens follows; `recurrent`, whether a list
# of the layers' kinds stands beside the interval, which is then a wrong one.
GOLDENS = {
    'gguf_qwen3moe_floats': (
        'qwen3moe; F32, F16 and BF16; attn_qkv, ffn_gate_up_exps, tied; GQA 2:1, rope base 500000',
        {**QWEN3_MOE, 'tie_word_embeddings': True, 'num_key_value_heads': 2, 'vocab_size': 101,
         'rope_parameters': {'rope_type': 'default', 'rope_theta': 500000.0}},
        {'types': {'attn_qkv.weight': 'F32', 'down_exps.weight': 'BF16', 'token_embd.weight': 'BF16',
                   '': 'F16'},
         'layout': {'fused_experts': True, 'fused_qkv': True}}),
    'gguf_qwen3moe_k': (
        'qwen3moe; K types, hidden 256, gate, up and down and layers of different types, untied, '
        'two parts with alignments 32 and 64',
        {**QWEN3_MOE, **WIDE, 'rope_theta': 1000000.0},
        {'types': {'0.ffn_gate_exps.weight': 'Q4_K', '0.ffn_up_exps.weight': 'Q3_K',
                   '1.ffn_gate_exps.weight': 'Q5_K', '1.ffn_up_exps.weight': 'Q6_K',
                   'gate_exps.weight': 'Q2_K', 'up_exps.weight': 'Q2_K',
                   '0.ffn_down_exps.weight': 'Q5_0', '1.ffn_down_exps.weight': 'Q8_0',
                   'down_exps.weight': 'IQ4_NL', 'attn_output.weight': 'Q4_1',
                   'token_embd.weight': 'Q4_K', 'output.weight': 'Q6_K', '': 'Q5_1'},
         'parts': [32, 64]}),
    'gguf_qwen3moe_small_types': (
        'qwen3moe; IQ1_S, IQ1_M, IQ2_XXS, TQ1_0, MXFP4, NVFP4; hidden 256, untied, three parts',
        {**QWEN3_MOE, **WIDE, 'num_hidden_layers': 2},
        {'types': {'attn_q.weight': 'TQ1_0', 'attn_k.weight': 'IQ1_M', 'attn_v.weight': 'IQ2_XXS',
                   'attn_output.weight': 'NVFP4', 'gate_exps.weight': 'IQ1_S', '0.ffn_up_exps.weight': 'NVFP4',
                   'up_exps.weight': 'IQ1_M', 'down_exps.weight': 'MXFP4', '': 'Q8_0'},
         'parts': [32, 32, 32]}),
    'gguf_qwen3next_ssm_in': (
        'qwen3next of the older layout; ssm_in, ssm_ba, the shared gate as a vector, Q8_0; interval '
        'only; 2 key heads, 4 value heads, rotary 0.25',
        {**QWEN3_NEXT, 'full_attention_interval': 4, 'hidden_size': 64, 'moe_intermediate_size': 32,
         'shared_expert_intermediate_size': 32},
        {'types': {'': 'Q8_0'}, 'layout': {'split_qkvz': False, 'flat_gate': True},
         'recurrent': False}),
    'gguf_qwen3next_split_qkv': (
        'qwen3next as converted today; attn_qkv and attn_gate, attn_qkv on attention layers too; Q4_0, '
        'F16; layer kinds against the interval, 1 key head, 3 value heads, rotary 0.5, eps 1e-5, tied',
        {**QWEN3_NEXT, 'num_hidden_layers': 3, 'hidden_size': 64, 'rms_norm_eps': 1e-5,
         'layer_types': ['full_attention', 'linear_attention', 'linear_attention'],
         'full_attention_interval': 4, 'partial_rotary_factor': 0.5, 'linear_num_key_heads': 1,
         'linear_num_value_heads': 3, 'tie_word_embeddings': True},
        {'types': {'exps.weight': 'Q4_0', '': 'F16'}, 'layout': {'fused_qkv': True}}),
    'gguf_qwen35moe_tiled': (
        'qwen35moe; value heads tiled (2 key heads, 6 value heads), MTP layer last, layer kinds '
        'against the interval, the shared gate as a matrix; Q4_0, Q5_1, Q8_0',
        {**QWEN3_5_MOE, 'num_hidden_layers': 3, 'hidden_size': 64, 'moe_intermediate_size': 32,
         'shared_expert_intermediate_size': 32, 'linear_num_value_heads': 6,
         'full_attention_interval': 4,
         'layer_types': ['linear_attention', 'full_attention', 'linear_attention']},
        {'types': {'gate_exps.weight': 'Q4_0', 'exps.weight': 'Q5_1', '': 'Q8_0'}, 'mtp': True}),
    'gguf_qwen35moe_iq': (
        'qwen35moe; IQ and TQ types; ssm_out in Q4_K with blocks over several tiled value heads (4 key '
        'heads, 16 value heads of 16), ffn_gate_up_exps, a tensor order of its own, two parts',
        {**QWEN3_5_MOE, **WIDE, 'linear_num_key_heads': 4, 'linear_num_value_heads': 16,
         'shared_expert_intermediate_size': 32, 'num_hidden_layers': 2,
         'layer_types': ['linear_attention', 'full_attention'], 'full_attention_interval': 2},
        {'types': {'ssm_out.weight': 'Q4_K', '0.ffn_gate_up_exps.weight': 'IQ2_XS',
                   'gate_up_exps.weight': 'IQ3_S', '0.ffn_down_exps.weight': 'IQ4_NL',
                   'down_exps.weight': 'Q5_0', 'attn_qkv.weight': 'IQ4_XS', 'attn_gate.weight': 'TQ2_0',
                   'attn_q.weight': 'IQ3_XXS', 'up_shexp.weight': 'IQ2_S', 'token_embd.weight': 'Q6_K',
                   'output.weight': 'Q5_K', '': 'Q8_0'},
         'layout': {'fused_experts': True}, 'parts': [32, 32], 'reverse': True}),
}


def random_blocks(shape, kind, std, rng):
    """Blocks of any bytes whose weights have this standard deviation."""
    inputs, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (int(np.prod(shape)) // inputs, size), np.uint8)
    if kind == Type.TQ2_0:  # of the four codes, three are used
        codes = rng.integers(0, 3, (len(blocks), 64, 4), np.uint8)
        blocks[:, :64] = (codes << np.array([0, 2, 4, 6], np.uint8)).sum(-1)

    if kind == Type.NVFP4:
        steps = rng.integers(0, 8, (len(blocks), 4), np.uint8)

    def with_scale(scale):
        for offset, factor in SCALES[kind.name].items():
            value = np.full(len(blocks), scale * factor, '<f2')
            blocks[:, offset:offset + 2] = value.view(np.uint8).reshape(-1, 2)
        if kind == Type.NVFP4:  # four scales of e4m3 without a sign, up to twice as large
            codes = gguf.quants.NVFP4.fp32_to_ue4m3(np.array([[scale]], np.float32))
            blocks[:, :4] = codes + steps
        if kind == Type.IQ1_M:  # four bits of it on top of each of the last four words
            bits = int(np.array(scale, '<f2').view('<u2'))
            nibbles = np.array([bits >> n & 15 for n in (0, 4, 8, 12)], '<u2') << 12
            words = blocks[:, 48:].copy().view('<u2')
            blocks[:, 48:] = (words & 0x0FFF | nibbles).astype('<u2').view(np.uint8)
        return blocks.reshape(*shape[:-1], -1)

    spread = gguf_layout.dequantized(with_scale(1.0), kind).std()
    return with_scale(std / spread)


def stored(name, array, types, rng):
    """(type, data) as the file holds them."""
    wanted = next(kind for ending, kind in types.items() if name.endswith(ending))
    kind = gguf_layout.type_of(name, array, Type[wanted])
    if kind.name in SCALES:
        return kind, random_blocks(array.shape, kind, array.std(), rng)
    return kind, gguf.quants.quantize(array, kind)


def write(path, config, tensors, alignment, options, part, parts, total):
    family = reference.family_of(config)
    writer = gguf.GGUFWriter(path, gguf_layout.ARCHITECTURES[family])
    if part == 0:
        gguf_layout.add_metadata(writer, config, 1 if options.get('mtp') else 0,
                                 options.get('recurrent', True))
    else:
        del writer.kv_data[0]['general.architecture']
    if alignment != 32:
        writer.add_custom_alignment(alignment)
    if parts > 1:
        writer.add_uint16('split.no', part)
        writer.add_uint16('split.count', parts)
        writer.add_int32('split.tensors.count', total)
    for name, (kind, data) in tensors:
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def mtp_tensors(config, rng):
    hidden, block = config['hidden_size'], f'blk.{config["num_hidden_layers"]}.'
    shapes = {'nextn.eh_proj.weight': (hidden, 2 * hidden), 'nextn.enorm.weight': (hidden,),
              'attn_norm.weight': (hidden,), 'attn_k.weight': (32, hidden),
              'ffn_gate_exps.weight': (2, 32, hidden)}
    return {block + n: (Type.F32, rng.standard_normal(s).astype(np.float32))
            for n, s in shapes.items()}


def make(name):
    covers, config, options = GOLDENS[name]
    for seed in range(200):
        rng = np.random.default_rng(seed)
        arrays = gguf_layout.to_gguf(config, goldens.random_weights(config, seed),
                                     **options.get('layout', {}))
        tensors = {n: stored(n, a, options['types'], rng) for n, a in arrays.items()}
        weights = gguf_layout.from_gguf(config, {
            n: gguf_layout.dequantized(data, kind).reshape(arrays[n].shape)
            for n, (kind, data) in tensors.items()})
        run = goldens.reference_run(config, weights, seed)
        if run:
            break
    else:
        sys.exit(f'{name}: no seed without near ties')
    ids, logits, checks = run
    if options.get('mtp'):
        tensors.update(mtp_tensors(config, rng))
    items = sorted(tensors.items(), reverse=True) if options.get('reverse') else list(tensors.items())

    folder = goldens.new_folder(name)
    alignments = options.get('parts', [32])
    for i, alignment in enumerate(alignments):
        file = 'model.gguf' if len(alignments) == 1 else f'm-{i + 1:05}-of-{len(alignments):05}.gguf'
        # Cut at equal counts: a layer's tensors then lie in two files.
        own = items[i * len(items) // len(alignments):(i + 1) * len(items) // len(alignments)]
        write(os.path.join(folder, file), config, own, alignment, options, i, len(alignments), len(items))
    kinds = {kind.name for kind, _ in tensors.values()}
    goldens.write_run(folder, ids, logits, {
        'covers': covers, 'made_by': 'tools/oracle/make_gguf_models.py', 'seed': seed,
        'types': sorted(kinds),
        'reference': 'transformers, float32, eager, of the weights as gguf dequantises them',
        'checks': checks, 'versions': reference.versions()})
    print(f'{name}: seed {seed}, {goldens.folder_bytes(folder)} bytes, {checks}', flush=True)


if __name__ == '__main__':
    for golden in sys.argv[1:] or GOLDENS:
        make(golden)
