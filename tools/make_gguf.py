#!/usr/bin/env python3
"""Converts a model folder to GGUF, as llama.cpp's converter lays it out.

    make_gguf.py MODEL OUT.gguf [--type q8_0] [--vocab-only]
    make_gguf.py tokenizer.json OUT.gguf --pre NAME --vocab-only

MODEL is a folder of Hugging Face's or MLX's layout that fits in memory as float32; MLX's codes are dequantised.
Types are those that the gguf package can write: f32, f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0. Without a model
around it, the name of the tokenizer's splitting (tokenizer.ggml.pre) must be given.
"""
import argparse
import json
import os
import sys

import gguf
from gguf import GGMLQuantizationType as Type

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'oracle'))


def read_json(*path):
    path = os.path.join(*path)
    if not os.path.exists(path):
        return {}
    with open(path) as f:
        return json.load(f)


def add_tokenizer(writer, tokenizer, pre, size=0):
    """From a tokenizer.json; ids up to `size` that it has no token for are unused."""
    tokens = {i: (t, gguf.TokenType.NORMAL) for t, i in tokenizer['model']['vocab'].items()}
    for added in tokenizer['added_tokens']:
        kind = gguf.TokenType.CONTROL if added['special'] else gguf.TokenType.USER_DEFINED
        tokens[added['id']] = (added['content'], kind)
    size = max(size, max(tokens) + 1)
    items = [tokens.get(i, (f'[PAD{i}]', gguf.TokenType.UNUSED)) for i in range(size)]
    writer.add_tokenizer_model('gpt2')
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([t for t, _ in items])
    writer.add_token_types([k for _, k in items])
    writer.add_token_merges([m if isinstance(m, str) else ' '.join(m) for m in tokenizer['model']['merges']])


def add_text(writer, folder, size, pre):
    tokenizer = read_json(folder, 'tokenizer.json')
    add_tokenizer(writer, tokenizer, pre, size)
    settings = read_json(folder, 'tokenizer_config.json')
    ids = {t['content']: t['id'] for t in tokenizer['added_tokens']}
    for key, add in (('bos_token', writer.add_bos_token_id), ('eos_token', writer.add_eos_token_id),
                     ('pad_token', writer.add_pad_token_id)):
        token = settings.get(key)
        token = token.get('content') if isinstance(token, dict) else token
        if token in ids:
            add(ids[token])
    writer.add_add_bos_token(bool(settings.get('add_bos_token')))
    template = os.path.join(folder, 'chat_template.jinja')
    if os.path.exists(template):
        with open(template) as f:
            writer.add_chat_template(f.read())
    elif settings.get('chat_template'):
        writer.add_chat_template(settings['chat_template'])


def add_sampling(writer, settings):
    if not settings.get('do_sample'):
        return
    for key, name in (('temperature', 'temp'), ('top_p', 'top_p'), ('min_p', 'min_p'),
                      ('repetition_penalty', 'penalty_repeat')):
        if key in settings:
            writer.add_float32(f'general.sampling.{name}', settings[key])
    if 'top_k' in settings:
        writer.add_int32('general.sampling.top_k', settings['top_k'])


def convert(writer_of, model, kind, pre, vocab_only):
    import gguf_layout
    import layouts
    import reference
    config = read_json(model, 'config.json') if vocab_only else None
    tensors = {}
    if not vocab_only:
        config, tensors = layouts.load(model)
    family, text = reference.family_of(config), reference.text_config(config)
    writer = writer_of(gguf_layout.ARCHITECTURES[family])
    gguf_layout.add_metadata(writer, config)
    add_text(writer, model, text['vocab_size'], pre or ('qwen35' if family == 'qwen3_5_moe' else 'qwen2'))
    add_sampling(writer, read_json(model, 'generation_config.json'))
    for name, array in gguf_layout.to_gguf(config, tensors).items():
        own = gguf_layout.type_of(name, array, kind)
        writer.add_tensor(name, gguf.quants.quantize(array, own), raw_dtype=own)
    return writer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model')
    parser.add_argument('out')
    parser.add_argument('--type', default='q8_0')
    parser.add_argument('--pre')
    parser.add_argument('--vocab-only', action='store_true')
    args = parser.parse_args()

    def writer_of(architecture):
        return gguf.GGUFWriter(args.out, architecture)

    if args.model.endswith('.json'):
        writer = writer_of('llama')
        add_tokenizer(writer, read_json(args.model), args.pre)
    else:
        writer = convert(writer_of, args.model, Type[args.type.upper()], args.pre, args.vocab_only)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == '__main__':
    main()
