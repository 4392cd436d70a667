#!/usr/bin/env python3
"""Makes tests/golden/models: tiny random models of every family in Hugging Face's layouts.

usage: make_models.py [NAME...]

The weights are rounded to the type they are stored in, then computed in float32 by transformers.
A seed whose routes or greedy tokens are near ties, or whose text repeats itself, is skipped.
"""
import sys

import torch

import goldens
import reference

QWEN3_MOE = {
    'architectures': ['Qwen3MoeForCausalLM'], 'model_type': 'qwen3_moe', 'hidden_act': 'silu',
    'attention_bias': False, 'rms_norm_eps': 1e-6, 'max_position_embeddings': 4096,
    'eos_token_id': 1, 'bos_token_id': 0, 'vocab_size': 128, 'hidden_size': 48,
    'intermediate_size': 40, 'num_hidden_layers': 3, 'num_attention_heads': 4,
    'num_key_value_heads': 1, 'head_dim': 16, 'num_experts': 8, 'num_experts_per_tok': 2,
    'moe_intermediate_size': 24, 'decoder_sparse_step': 1, 'mlp_only_layers': [],
    'norm_topk_prob': True, 'tie_word_embeddings': False, 'use_sliding_window': False,
    'sliding_window': None, 'router_aux_loss_coef': 0.001,
}
LINEAR = {
    'hidden_act': 'silu', 'attention_bias': False, 'rms_norm_eps': 1e-6,
    'max_position_embeddings': 4096, 'eos_token_id': 1, 'vocab_size': 128, 'hidden_size': 48,
    'num_hidden_layers': 4, 'num_attention_heads': 4, 'num_key_value_heads': 2, 'head_dim': 16,
    'linear_num_key_heads': 2, 'linear_num_value_heads': 4, 'linear_key_head_dim': 16,
    'linear_value_head_dim': 16, 'linear_conv_kernel_dim': 4, 'num_experts': 8,
    'num_experts_per_tok': 2, 'moe_intermediate_size': 16, 'shared_expert_intermediate_size': 24,
    'tie_word_embeddings': False, 'router_aux_loss_coef': 0.001,
}
QWEN3_NEXT = {
    'architectures': ['Qwen3NextForCausalLM'], 'model_type': 'qwen3_next', **LINEAR,
    'intermediate_size': 48, 'decoder_sparse_step': 1, 'mlp_only_layers': [],
    'norm_topk_prob': True, 'partial_rotary_factor': 0.25, 'rope_theta': 10000000,
    'rope_scaling': None,
}
QWEN3_5_MOE = {
    'architectures': ['Qwen3_5MoeForCausalLM'], 'model_type': 'qwen3_5_moe_text', **LINEAR,
    'rope_parameters': {'rope_type': 'default', 'rope_theta': 10000000,
                        'partial_rotary_factor': 0.25},
}
MROPE = {'mrope_interleaved': True, 'mrope_section': [1, 1, 0]}


def without(config, *keys):
    return {k: v for k, v in config.items() if k not in keys}


def wrapped(text, **changes):
    """The config.json of Qwen3.5's published, multimodal checkpoints."""
    return {
        'architectures': ['Qwen3_5MoeForConditionalGeneration'], 'model_type': 'qwen3_5_moe',
        'image_token_id': 120, 'video_token_id': 121, 'vision_start_token_id': 122,
        'vision_end_token_id': 123, 'tie_word_embeddings': text['tie_word_embeddings'],
        'text_config': without(text, 'architectures'),
        'vision_config': {'model_type': 'qwen3_5_moe', 'depth': 1, 'hidden_size': 16,
                          'intermediate_size': 32, 'num_heads': 2, 'patch_size': 4,
                          'in_channels': 3, 'out_hidden_size': text['hidden_size'],
                          'num_position_embeddings': 16},
        **changes}


BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32

# name: (what it covers, config.json, storage). Of `storage`, `type` is the tensors' type, `experts`
# says fused or per-expert ('split') names, `shards` into how many files, `extra` which tensors
# beside the text model, `pattern` how shards are named.
GOLDENS = {
    'qwen3_moe_split_bf16': (
        'qwen3_moe; per-expert names, bf16, two shards; GQA 4:1, untied, norm_topk_prob true, '
        'rope_theta at the top level, heads wider than the hidden size',
        {**QWEN3_MOE, 'rope_theta': 1000000.0, 'rope_scaling': None},
        {'type': BF16, 'experts': 'split', 'shards': 2}),
    'qwen3_moe_sparse_step_f16': (
        'qwen3_moe; fused experts, f16; decoder_sparse_step 2 (layers 0 and 2 dense), tied, '
        'norm_topk_prob absent (false), GQA 2:1, rope_parameters, vocabulary 101, 10 experts, top 3',
        {**without(QWEN3_MOE, 'norm_topk_prob', 'mlp_only_layers'), 'decoder_sparse_step': 2,
         'num_hidden_layers': 4, 'tie_word_embeddings': True, 'num_key_value_heads': 2,
         'vocab_size': 101, 'num_experts': 10, 'num_experts_per_tok': 3,
         'rope_parameters': {'rope_type': 'default', 'rope_theta': 500000.0}},
        {'type': F16, 'experts': 'fused', 'shards': 1}),
    'qwen3_moe_dense_layer_f32': (
        'qwen3_moe; per-expert names, f32; mlp_only_layers [1], hidden 40, intermediate 24 and 12, '
        'norm_topk_prob false, one query head per KV head, default rope_theta (absent)',
        {**QWEN3_MOE, 'mlp_only_layers': [1], 'hidden_size': 40, 'intermediate_size': 24,
         'moe_intermediate_size': 12, 'norm_topk_prob': False, 'num_attention_heads': 3,
         'num_key_value_heads': 3, 'num_experts': 12, 'num_experts_per_tok': 4},
        {'type': F32, 'experts': 'split', 'shards': 1}),
    'qwen3_next_split_bf16': (
        'qwen3_next as published: per-expert names, bf16, two shards, mtp.* beside; no layer_types, '
        'full_attention_interval 4; 2 key heads, 4 value heads, untied, GQA 2:1, rotary 0.25',
        {**QWEN3_NEXT, 'full_attention_interval': 4, 'moe_intermediate_size': 8},
        {'type': BF16, 'experts': 'split', 'shards': 2, 'extra': ('mtp',)}),
    'qwen3_next_equal_heads_f16': (
        'qwen3_next; fused experts, f16; layer_types against full_attention_interval, key heads = '
        'value heads, value dim 24 > key dim 16, convolution of width 3, tied, norm_topk_prob false, '
        'rotary 0.5, eps 1e-5',
        {**QWEN3_NEXT, 'num_hidden_layers': 3, 'full_attention_interval': 2,
         'layer_types': ['full_attention', 'linear_attention', 'linear_attention'],
         'linear_num_value_heads': 2, 'linear_value_head_dim': 24, 'linear_conv_kernel_dim': 3,
         'tie_word_embeddings': True, 'norm_topk_prob': False, 'partial_rotary_factor': 0.5,
         'rope_theta': 10000.0, 'num_key_value_heads': 1, 'rms_norm_eps': 1e-5},
        {'type': F16, 'experts': 'fused', 'shards': 1}),
    'qwen3_next_no_shared_f32': (
        'qwen3_next; per-expert names, f32; no shared expert (size 0, no tensors), mlp_only_layers '
        '[1], full_attention_interval 3, 1 key head, 3 value heads, hidden 32, vocabulary 101, '
        'norm_topk_prob absent (true)',
        {**without(QWEN3_NEXT, 'norm_topk_prob'), 'num_hidden_layers': 3,
         'full_attention_interval': 3, 'mlp_only_layers': [1], 'hidden_size': 32,
         'vocab_size': 101, 'shared_expert_intermediate_size': 0, 'linear_num_key_heads': 1,
         'linear_num_value_heads': 3, 'num_experts': 9, 'num_experts_per_tok': 3},
        {'type': F32, 'experts': 'split', 'shards': 1}),
    'qwen3_5_moe_text_bf16': (
        'qwen3_5_moe_text; fused experts, bf16 with A_log in f32; layer_types, tied, 2 key heads, '
        '4 value heads, rotary 0.25 inside rope_parameters, three shards',
        {**QWEN3_5_MOE, 'tie_word_embeddings': True,
         'layer_types': ['linear_attention'] * 3 + ['full_attention']},
        {'type': BF16, 'experts': 'fused', 'shards': 3}),
    'qwen3_5_moe_wrapper_bf16': (
        'qwen3_5_moe as published: text_config inside, model.language_model.*, model.visual.* and '
        'mtp.* beside, lm_head at the top, three shards named as Qwen names them; no layer_types and '
        'no interval (default 4), GQA 4:1, mrope_section',
        wrapped({**QWEN3_5_MOE, 'num_key_value_heads': 1, 'moe_intermediate_size': 8,
                 'rope_parameters': {**QWEN3_5_MOE['rope_parameters'], **MROPE}}),
        {'type': BF16, 'experts': 'fused', 'shards': 3, 'extra': ('mtp', 'visual'),
         'pattern': 'model.safetensors-{:05}-of-{:05}.safetensors'}),
    'qwen3_5_moe_split_f16': (
        'qwen3_5_moe_text; per-expert names, f16; hidden 80, vocabulary 101, 10 experts, top 4, '
        '1 key head, 3 value heads, key dim 24, value dim 16, interval 2, rotary 0.5, untied',
        {**QWEN3_5_MOE, 'num_hidden_layers': 3, 'full_attention_interval': 2, 'hidden_size': 80,
         'vocab_size': 101, 'num_experts': 10, 'num_experts_per_tok': 4, 'moe_intermediate_size': 8,
         'shared_expert_intermediate_size': 16, 'linear_num_key_heads': 1,
         'linear_num_value_heads': 3, 'linear_key_head_dim': 24,
         'rope_parameters': {'rope_type': 'default', 'rope_theta': 10000.0,
                             'partial_rotary_factor': 0.5}},
        {'type': F16, 'experts': 'split', 'shards': 1}),
    'qwen3_5_moe_wrapper_tied_f32': (
        'qwen3_5_moe; wrapper, f32, per-expert names; tied, key heads = value heads, key dim 32 > '
        'value dim 16, full attention first, hidden 40',
        wrapped({**QWEN3_5_MOE, 'num_hidden_layers': 2, 'tie_word_embeddings': True,
                 'layer_types': ['full_attention', 'linear_attention'], 'hidden_size': 40,
                 'linear_num_value_heads': 2, 'linear_key_head_dim': 32}),
        {'type': F32, 'experts': 'split', 'shards': 1, 'extra': ('visual',)}),
}


def stored(config, weights, dtype):
    """The weights in the type of the file: A_log stays f32 in qwen3_5_moe."""
    keeps = reference.family_of(config) == 'qwen3_5_moe'
    return {n: w if keeps and n.endswith('A_log') else w.to(dtype) for n, w in weights.items()}


def split_experts(tensors):
    """experts.{gate_up,down}_proj [experts, ...] to experts.N.{gate,up,down}_proj.weight"""
    out = {}
    for name, tensor in tensors.items():
        base = name.rpartition('.')[0]
        if name.endswith('experts.gate_up_proj'):
            for i, expert in enumerate(tensor):
                gate, up = expert.chunk(2)
                out[f'{base}.{i}.gate_proj.weight'], out[f'{base}.{i}.up_proj.weight'] = gate, up
        elif name.endswith('experts.down_proj'):
            for i, expert in enumerate(tensor):
                out[f'{base}.{i}.down_proj.weight'] = expert
        else:
            out[name] = tensor
    return out


def beside(kinds, dtype, hidden):
    """Tensors that a text engine must ignore, of published names."""
    shapes = {}
    if 'mtp' in kinds:
        shapes.update({'mtp.fc.weight': (hidden, 2 * hidden), 'mtp.norm.weight': (hidden,),
                       'mtp.pre_fc_norm_embedding.weight': (hidden,),
                       'mtp.layers.0.self_attn.k_proj.weight': (8, hidden),
                       'mtp.layers.0.mlp.experts.0.gate_proj.weight': (8, hidden),
                       'mtp.layers.0.mlp.gate.weight': (2, hidden)})
    if 'visual' in kinds:
        shapes.update({'model.visual.patch_embed.proj.weight': (16, 3, 2, 4, 4),
                       'model.visual.patch_embed.proj.bias': (16,),
                       'model.visual.pos_embed.weight': (16, 16),
                       'model.visual.blocks.0.attn.qkv.weight': (48, 16),
                       'model.visual.blocks.0.norm1.weight': (16,),
                       'model.visual.merger.linear_fc2.weight': (hidden, 16)})
    generator = torch.Generator().manual_seed(5)
    return {n: torch.randn(s, generator=generator).to(dtype) for n, s in shapes.items()}


def make(name):
    covers, config, storage = GOLDENS[name]
    for seed in range(100):
        tensors = stored(config, goldens.random_weights(config, seed), storage['type'])
        run = goldens.reference_run(config, {n: t.float() for n, t in tensors.items()}, seed)
        if run:
            break
    else:
        sys.exit(f'{name}: no seed without near ties')
    ids, logits, checks = run

    if storage['experts'] == 'split':
        tensors = split_experts(tensors)
    if 'text_config' in config:
        tensors = {n.replace('model.', 'model.language_model.', 1): t for n, t in tensors.items()}
    tensors.update(beside(storage.get('extra', ()), storage['type'],
                          reference.text_config(config)['hidden_size']))

    folder = goldens.new_folder(name)
    dtype = str(storage['type']).removeprefix('torch.')
    text = reference.text_config(config)
    written = {**config, 'text_config': {**text, 'dtype': dtype}} if text is not config else {
        **config, 'torch_dtype': dtype}
    goldens.write_json(folder, 'config.json', written)
    goldens.save_shards(folder, tensors, storage['shards'],
                        **({'pattern': storage['pattern']} if 'pattern' in storage else {}))
    goldens.write_run(folder, ids, logits, {
        'covers': covers, 'made_by': 'tools/oracle/make_models.py', 'seed': seed,
        'reference': 'transformers, float32, eager, of the weights rounded to their stored type',
        'checks': checks, 'versions': reference.versions()})
    print(f'{name}: seed {seed}, {goldens.folder_bytes(folder)} bytes, {checks}', flush=True)


if __name__ == '__main__':
    for golden in sys.argv[1:] or GOLDENS:
        make(golden)
