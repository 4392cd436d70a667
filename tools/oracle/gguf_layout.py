"""GGUF files of Qwen MoE models, as llama.cpp's converter lays them out: written from and read into float32
tensors under the canonical names of reference.py. Easy to get wrong:
  - All norms hold 1 + w but the delta net's own; ssm_a holds -exp(A_log).
  - qwen35moe puts the value heads of the delta net in another order: number j of the file belongs to key
    head j % key_heads.
"""
import os

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type

import reference

ARCHITECTURES = {'qwen3_moe': 'qwen3moe', 'qwen3_next': 'qwen3next', 'qwen3_5_moe': 'qwen35moe'}

# Canonical names below model.layers.N to GGUF's below blk.N; those that need more are in the functions.
PLAIN = {
    'input_layernorm.weight': 'attn_norm.weight',
    'self_attn.q_proj.weight': 'attn_q.weight',
    'self_attn.k_proj.weight': 'attn_k.weight',
    'self_attn.v_proj.weight': 'attn_v.weight',
    'self_attn.o_proj.weight': 'attn_output.weight',
    'self_attn.q_norm.weight': 'attn_q_norm.weight',
    'self_attn.k_norm.weight': 'attn_k_norm.weight',
    'linear_attn.in_proj_qkv.weight': 'attn_qkv.weight',
    'linear_attn.in_proj_z.weight': 'attn_gate.weight',
    'linear_attn.in_proj_b.weight': 'ssm_beta.weight',
    'linear_attn.in_proj_a.weight': 'ssm_alpha.weight',
    'linear_attn.in_proj_qkvz.weight': 'ssm_in.weight',
    'linear_attn.in_proj_ba.weight': 'ssm_ba.weight',
    'linear_attn.conv1d.weight': 'ssm_conv1d.weight',
    'linear_attn.A_log': 'ssm_a',
    'linear_attn.dt_bias': 'ssm_dt.bias',
    'linear_attn.norm.weight': 'ssm_norm.weight',
    'linear_attn.out_proj.weight': 'ssm_out.weight',
    'mlp.gate.weight': 'ffn_gate_inp.weight',
    'mlp.experts.gate_up_proj': 'ffn_gate_up_exps.weight',
    'mlp.experts.down_proj': 'ffn_down_exps.weight',
    'mlp.shared_expert.gate_proj.weight': 'ffn_gate_shexp.weight',
    'mlp.shared_expert.up_proj.weight': 'ffn_up_shexp.weight',
    'mlp.shared_expert.down_proj.weight': 'ffn_down_shexp.weight',
    'mlp.shared_expert_gate.weight': 'ffn_gate_inp_shexp.weight',
}
OUTER = {
    'model.embed_tokens.weight': 'token_embd.weight',
    'model.norm.weight': 'output_norm.weight',
    'lm_head.weight': 'output.weight',
}


def names(family):
    norm = 'ffn_norm' if family == 'qwen3_moe' else 'post_attention_norm'
    return {**PLAIN, 'post_attention_layernorm.weight': norm + '.weight'}


def value_order(text):
    """For each value head of the file, in order, the number that transformers gives it."""
    keys, values = text['linear_num_key_heads'], text['linear_num_value_heads']
    return [j % keys * (values // keys) + j // keys for j in range(values)]


def reorder_values(name, tensor, text, order):
    """Rows, and of the output's columns, of the value heads in another order: order[j] comes to place j."""
    dim = text['linear_value_head_dim']
    keys = 2 * text['linear_num_key_heads'] * text['linear_key_head_dim']
    if name.endswith('out_proj.weight'):
        heads = tensor.reshape(len(tensor), len(order), dim)
        return heads[:, order].reshape(tensor.shape)
    first = keys if name.endswith(('in_proj_qkv.weight', 'conv1d.weight')) else 0
    width = 1 if name.endswith(('A_log', 'dt_bias', 'in_proj_a.weight', 'in_proj_b.weight')) else dim
    heads = tensor[first:].reshape(len(order), width, *tensor.shape[1:])
    return torch.cat([tensor[:first], heads[order].reshape(tensor[first:].shape)])


def tiled(family, name):
    return family == 'qwen3_5_moe' and 'linear_attn.' in name and not name.endswith('norm.weight')


def holds_one(family, name):
    return family != 'qwen3_moe' and name.endswith('norm.weight') and 'linear_attn.' not in name


def to_gguf(config, tensors, fused_experts=False, fused_qkv=False, split_qkvz=True, flat_gate=False):
    """{GGUF name: float32 array} of canonical tensors. Options: gate and up of the experts in one tensor; q, k
    and v of attention layers in one; qwen3_next's qkvz as qkv and z; the shared expert's gate as a vector."""
    family, text = reference.family_of(config), reference.text_config(config)
    outer, inner, result = OUTER, names(family), {}
    for name, tensor in tensors.items():
        if holds_one(family, name):
            tensor = tensor + 1
        if name in outer:
            result[outer[name]] = tensor
            continue
        _, _, layer, short = name.split('.', 3)
        block = f'blk.{layer}.'
        if tiled(family, name):
            tensor = reorder_values(name, tensor, text, value_order(text))
        if short.endswith('conv1d.weight'):
            tensor = tensor.squeeze(1)
        if short.endswith('A_log'):
            tensor = -tensor.exp()
        if short.endswith('shared_expert_gate.weight') and flat_gate:
            tensor = tensor.squeeze(0)
        if short.endswith('experts.gate_up_proj') and not fused_experts:
            gate, up = tensor.chunk(2, 1)
            result[block + 'ffn_gate_exps.weight'], result[block + 'ffn_up_exps.weight'] = gate, up
        elif short.endswith('in_proj_qkvz.weight') and split_qkvz:
            qkv, z = split(tensor, text)
            result[block + 'attn_qkv.weight'], result[block + 'attn_gate.weight'] = qkv, z
        else:
            result[block + inner[short]] = tensor
    for name in [n for n in result if n.endswith('attn_q.weight')] if fused_qkv else []:
        parts = [result.pop(name.replace('attn_q.', f'attn_{x}.')) for x in 'qkv']
        result[name.replace('attn_q.', 'attn_qkv.')] = torch.cat(parts)
    return {name: np.ascontiguousarray(t.float().numpy()) for name, t in result.items()}


def split(qkvz, text):
    """Per key head q, k, its v heads and its z heads to all q, all k, all v; all z."""
    keys = text['linear_num_key_heads']
    dk, dv = text['linear_key_head_dim'], text['linear_value_head_dim']
    per_key = text['linear_num_value_heads'] // keys * dv
    parts = qkvz.reshape(keys, -1, qkvz.shape[-1]).split([dk, dk, per_key, per_key], 1)
    q, k, v, z = (p.reshape(-1, qkvz.shape[-1]) for p in parts)
    return torch.cat([q, k, v]), z


def join(qkv, z, text):
    """The reverse of split."""
    keys = text['linear_num_key_heads']
    width = keys * text['linear_key_head_dim']
    parts = [*qkv.split([width, width, len(qkv) - 2 * width]), z]
    return torch.cat([p.reshape(keys, -1, qkv.shape[-1]) for p in parts], 1).reshape(-1, qkv.shape[-1])


def from_gguf(config, arrays):
    """{canonical name: float32 tensor} of {GGUF name: float32 array}, whatever options it was written with."""
    family, text = reference.family_of(config), reference.text_config(config)
    tensors = {name: torch.from_numpy(np.array(a, np.float32)) for name, a in arrays.items()}
    layers = text['num_hidden_layers']
    tensors = {n: t for n, t in tensors.items() if not n.startswith('blk.') or int(n.split('.')[1]) < layers}
    result = {}
    for short, name in [(v, k) for k, v in OUTER.items()]:
        if short in tensors:
            result[name] = tensors.pop(short)
    for layer in range(layers):
        block, base = f'blk.{layer}.', f'model.layers.{layer}.'
        own = {n.removeprefix(block): tensors.pop(n) for n in list(tensors) if n.startswith(block)}
        if 'ffn_gate_exps.weight' in own:
            gate, up = own.pop('ffn_gate_exps.weight'), own.pop('ffn_up_exps.weight')
            own['ffn_gate_up_exps.weight'] = torch.cat([gate, up], 1)
        if 'attn_qkv.weight' in own and 'attn_output.weight' in own:
            rows = [h * text['head_dim'] for h in (
                text['num_attention_heads'] * (1 if family == 'qwen3_moe' else 2),
                text['num_key_value_heads'], text['num_key_value_heads'])]
            parts = own.pop('attn_qkv.weight').split(rows)
            own.update({f'attn_{x}.weight': p for x, p in zip('qkv', parts)})
        if 'attn_qkv.weight' in own and family == 'qwen3_next':
            own['ssm_in.weight'] = join(own.pop('attn_qkv.weight'), own.pop('attn_gate.weight'), text)
        for short, name in [(v, k) for k, v in names(family).items()]:
            if short in own:
                result[base + name] = own.pop(short)
        assert not own, sorted(own)
    assert not tensors, sorted(tensors)
    for name, tensor in result.items():
        if name.endswith('conv1d.weight'):
            tensor = tensor.unsqueeze(1)
        if name.endswith('A_log'):
            tensor = (-tensor).log()
        if name.endswith('shared_expert_gate.weight'):
            tensor = tensor.reshape(1, -1)
        if tiled(family, name):
            order = value_order(text)
            back = [order.index(j) for j in range(len(order))]
            tensor = reorder_values(name, tensor, text, back)
        if holds_one(family, name):
            tensor = tensor - 1
        result[name] = tensor
    return result


def add_metadata(writer, config, extra_layers=0, recurrent=True):
    """All keys but the tokenizer's. Without `recurrent`, only the interval tells the layers' kinds."""
    family, text = reference.family_of(config), reference.text_config(config)
    model = reference.empty_model(config).config
    layers = text['num_hidden_layers']
    writer.add_block_count(layers + extra_layers)
    writer.add_embedding_length(model.hidden_size)
    writer.add_context_length(model.max_position_embeddings)
    writer.add_head_count(model.num_attention_heads)
    writer.add_head_count_kv(model.num_key_value_heads)
    writer.add_key_length(model.head_dim)
    writer.add_value_length(model.head_dim)
    writer.add_layer_norm_rms_eps(model.rms_norm_eps)
    rope = model.rope_parameters
    writer.add_rope_freq_base(rope['rope_theta'])
    writer.add_expert_count(model.num_experts)
    writer.add_expert_used_count(model.num_experts_per_tok)
    writer.add_expert_feed_forward_length(model.moe_intermediate_size)
    if extra_layers:
        writer.add_nextn_predict_layers(extra_layers)
    if family == 'qwen3_moe':
        return
    rotated = int(model.head_dim * rope['partial_rotary_factor'])
    writer.add_rope_dimension_count(rotated)
    if family == 'qwen3_5_moe':  # of text all are alike; llama.cpp does not open a file without
        third = rotated // 2 // 3
        writer.add_rope_dimension_sections([rotated // 2 - 2 * third, third, third, 0])
    writer.add_expert_shared_feed_forward_length(model.shared_expert_intermediate_size)
    writer.add_ssm_conv_kernel(model.linear_conv_kernel_dim)
    writer.add_ssm_state_size(model.linear_key_head_dim)
    writer.add_ssm_group_count(model.linear_num_key_heads)
    writer.add_ssm_time_step_rank(model.linear_num_value_heads)
    writer.add_ssm_inner_size(model.linear_num_value_heads * model.linear_value_head_dim)
    kinds = [kind == 'linear_attention' for kind in model.layer_types]
    if recurrent:
        writer.add_array(f'{writer.arch}.attention.recurrent_layers', kinds + [False] * extra_layers)
    writer.add_uint32(f'{writer.arch}.full_attention_interval', text.get('full_attention_interval', 4))


def type_of(name, array, wanted):
    """The type that a tensor gets when `wanted` is asked for: some always stay float32."""
    small = array.ndim < 2 or not name.endswith('.weight')
    if small or 'ffn_gate_inp' in name or 'ssm_conv1d' in name or 'norm' in name:
        return Type.F32
    block = gguf.GGML_QUANT_SIZES[wanted][0]
    return wanted if array.shape[-1] % block == 0 else Type.F16


def dequantized(data, kind):
    return gguf.quants.dequantize(data, kind).astype(np.float32)


def read(path):
    """(architecture, {name: float32 array}) of a file or of all parts of a split one."""
    paths = [path]
    if '-of-' in path:
        stem, count = path.rsplit('-of-', 1)
        paths = [f'{stem[:-5]}{i + 1:05}-of-{count}' for i in range(int(count[:5]))]
    arrays, architecture = {}, None
    for part in paths:
        reader = gguf.GGUFReader(part)
        field = reader.fields.get('general.architecture')
        architecture = architecture or field and field.contents()
        for t in reader.tensors:
            data = np.array(t.data)
            arrays[t.name] = dequantized(data, t.tensor_type).reshape(tuple(int(n) for n in reversed(t.shape)))
    return architecture, arrays


def file_in(folder):
    files = sorted(f for f in os.listdir(folder) if f.endswith('.gguf'))
    return os.path.join(folder, files[0]) if files else None
