#!/usr/bin/env python3
"""Checks a folder that `flashmoe quantize` wrote against mlx and mlx-lm.

usage: check_mlx_load.py FOLDER [--source SOURCE] [--ids FILE] [--prompt TEXT]

- mlx-lm loads FOLDER, strictly. Its logits, in float32, are compared with those of transformers on weights
  that layouts.py dequantises. --ids gives the tokens, one a line; otherwise 64 random ones.
- With --source, mlx-lm converts the source itself, and every tensor is compared bit by bit.
- With --prompt, mlx-lm answers it greedily through the chat template.
"""
import argparse
import json
import pathlib
import tempfile

import mlx.core as mx
import mlx.utils
import numpy as np
from mlx_lm import generate
from mlx_lm.utils import load_model, load_tokenizer, quantize_model

import layouts
import reference


def overrides(config):
    """What mlx-lm needs said in config.json where transformers has it elsewhere or by default."""
    text = dict(reference.text_config(config))
    rope = text.get('rope_parameters') or {}
    for key in ('rope_theta', 'partial_rotary_factor'):
        if key in rope:
            text.setdefault(key, rope[key])
    settings = reference.empty_model(config).config
    if text['model_type'] == 'qwen3_moe':
        for key in ('rope_theta', 'head_dim', 'norm_topk_prob', 'decoder_sparse_step', 'mlp_only_layers',
                    'tie_word_embeddings', 'num_experts'):
            if hasattr(settings, key):
                text.setdefault(key, getattr(settings, key))
        text.setdefault('rope_theta', 10000.0)
    else:
        text['full_attention_interval'] = settings.layer_types.index('full_attention') + 1
    model_type = reference.family_of(config)
    if model_type != 'qwen3_5_moe':
        return text
    text['tie_word_embeddings'] = settings.tie_word_embeddings
    return {'model_type': model_type, 'text_config': text}


def load(folder):
    config = json.loads((folder / 'config.json').read_text())
    return load_model(folder, model_config=overrides(config))


def compare_logits(folder, ids):
    config, tensors = layouts.load(folder)
    if ids is None:
        vocab = reference.text_config(config)['vocab_size']
        ids = np.random.default_rng(0).integers(0, vocab, 64).tolist()
    expected = reference.teacher_forced(reference.build(config, tensors), ids)
    model, _ = load(folder)
    model.update(mlx.utils.tree_map(
        lambda p: p.astype(mx.float32) if mx.issubdtype(p.dtype, mx.floating) else p,
        model.parameters()))
    error = reference.relative_error(np.array(model(mx.array(ids)[None])[0]), expected)
    print(f'{folder}: mlx-lm against transformers, {len(ids)} tokens: relative error {error:.2e}')
    assert error < 1e-4


def stacked_source(source, folder):
    """A copy of the source with stacked experts: mlx-lm takes qwen3_5_moe in no other form."""
    tensors, experts = {}, {}
    for file in source.glob('*.safetensors'):
        for name, array in mx.load(str(file)).items():
            base, found, rest = name.partition('.mlp.experts.')
            number, _, kind = rest.partition('.')
            if found and number.isdigit():
                experts.setdefault((base, kind), {})[int(number)] = array
            elif found:  # fused: mlx-lm would take these too
                stem = base + '.mlp.switch_mlp.'
                if rest.startswith('gate_up_proj'):
                    half = array.shape[1] // 2
                    tensors[stem + 'gate_proj.weight'] = array[:, :half]
                    tensors[stem + 'up_proj.weight'] = array[:, half:]
                else:
                    tensors[stem + 'down_proj.weight'] = array
            else:
                tensors[name] = array
    for (base, kind), arrays in experts.items():
        tensors[f'{base}.mlp.switch_mlp.{kind}'] = mx.stack([arrays[i] for i in range(len(arrays))])
    mx.save_safetensors(str(folder / 'model.safetensors'), tensors)
    (folder / 'config.json').write_text((source / 'config.json').read_text())
    return folder


def compare_tensors(folder, source):
    entries = json.loads((folder / 'config.json').read_text())['quantization']
    source_config = json.loads((source / 'config.json').read_text())
    if reference.family_of(source_config) == 'qwen3_5_moe':
        with tempfile.TemporaryDirectory() as stacked:
            model, config = load(stacked_source(source, pathlib.Path(stacked)))
    else:
        model, config = load(source)
    model, config = quantize_model(model, config, entries['group_size'], entries['bits'])
    expected = dict(mlx.utils.tree_flatten(model.parameters()))
    written = {}
    for file in folder.glob('*.safetensors'):
        written.update(mx.load(str(file)))
    assert expected.keys() == written.keys(), expected.keys() ^ written.keys()
    different = []
    for name, array in expected.items():
        own = written[name]
        if own.dtype != array.dtype or own.shape != array.shape or not np.array_equal(
                np.array(own.view(mx.uint8)), np.array(array.view(mx.uint8))):
            different.append(name)
    defaults = {k: entries[k] for k in ('group_size', 'bits')}
    for path, module in model.named_modules():
        if hasattr(module, 'bits'):
            own = entries.get(path, defaults)
            assert (own['bits'], own['group_size']) == (module.bits, module.group_size), path
    print(f'{folder}: {len(expected)} tensors, {len(different)} differ from mlx-lm\'s {different[:4]}')
    assert not different


def answer(folder, prompt):
    model, config = load(folder)
    tokenizer = load_tokenizer(folder, eos_token_ids=config.get('eos_token_id'))
    text = tokenizer.apply_chat_template([{'role': 'user', 'content': prompt}],
                                         add_generation_prompt=True, tokenize=False)
    print(generate(model, tokenizer, text, max_tokens=256))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('folder', type=pathlib.Path)
    parser.add_argument('--source', type=pathlib.Path)
    parser.add_argument('--ids', type=pathlib.Path)
    parser.add_argument('--prompt')
    options = parser.parse_args()
    mx.set_default_device(mx.cpu)
    compare_logits(options.folder,
                   [int(line) for line in options.ids.read_text().split()] if options.ids else None)
    if options.source:
        compare_tensors(options.folder, options.source)
    if options.prompt:
        answer(options.folder, options.prompt)


if __name__ == '__main__':
    main()
