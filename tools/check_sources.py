#!/usr/bin/env python3
"""Runs every command that reads models on every kind of source, and other programs on what `quantize` writes.

usage: check_sources.py BUILD_DIR TINY_BF16 [--work DIR]

Each golden model of tests/golden/models that has a file layout of its own is inspected, planned, packed and quantised
to 8 bits in groups of 32. The store must give the source's logits to the bit. The quantised model is loaded by mlx-lm
as it is, whose logits must be those of `flashmoe logits --backend ref` within 1e-4, and their distance from the golden
logits, which are of the source's dequantised weights, is printed: what 8 bits changed.

The trained model, as GGUF, as a packed store of that, in MLX's format and as flash-moe keeps it (which need tokenizers), goes
through quantize, imatrix and eval; transformers must read tokenizer, chat template and generation settings of the
results and cut texts into the same tokens.

Runs in the environment of requirements.txt.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import mlx.core as mx
import mlx.utils
import numpy as np
import transformers
from mlx_lm.utils import load_model

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, 'oracle'))
from check_mlx_load import overrides  # noqa: E402
GOLDENS = os.path.join(HERE, '..', 'tests', 'golden', 'models')
EVAL = os.path.join(HERE, '..', 'models', 'tiny', 'eval')
KINDS = ['qwen3_next_split_bf16', 'mlx_qwen3_5_moe_4bit_bf16', 'mlx_qwen3_moe_mxfp4', 'mlx_qwen3_moe_mxfp8',
         'mlx_qwen3_5_moe_nvfp4', 'mlx_qwen3_moe_nvfp4_global', 'fp8_qwen3_5_moe_blocks_f32', 'fp8_qwen3_moe_blocks_bf16',
         'gptq_qwen3_moe_mixed', 'gptq_qwen3_next_act_order_v2', 'awq_qwen3_moe', 'packed_qwen3_moe_groups_f16',
         'packed_qwen3_moe_symmetric_bf16', 'float_qwen3_moe_mixed_bf16', 'gguf_qwen3moe_floats', 'gguf_qwen3moe_k',
         'gguf_qwen3moe_small_types', 'gguf_qwen3next_ssm_in', 'gguf_qwen3next_split_qkv', 'gguf_qwen35moe_tiled',
         'gguf_qwen35moe_iq']


class Checker:
    def __init__(self, flashmoe, work):
        self.flashmoe, self.work = flashmoe, work

    def run(self, *arguments, text=None):
        run = subprocess.run([self.flashmoe, *map(str, arguments)], input=text, capture_output=True, text=True)
        assert run.returncode == 0, f'{" ".join(map(str, arguments))}: {run.stderr}'
        return run

    def path(self, name):
        return os.path.join(self.work, name)

    def logits(self, model, ids, *options):
        self.run('logits', model, '--ids', ids, '--out', self.path('out.npy'), *options)
        return np.load(self.path('out.npy'))

    def quantise(self, model, *options):
        out = self.path('quantised')
        shutil.rmtree(out, ignore_errors=True)
        return out, 'quantised already' in self.run('quantize', model, out, '--bits', 8, '--group', 32, *options).stderr

    def check_golden(self, name):
        folder = os.path.join(GOLDENS, name)
        files = sorted(f for f in os.listdir(folder) if f.endswith('.gguf'))
        model = os.path.join(folder, files[0]) if files else folder
        ids, golden = os.path.join(folder, 'ids.txt'), np.load(os.path.join(folder, 'logits.npy'))
        formats = {t['format'] for t in json.loads(self.run('inspect', model, '--json').stdout)['tensors']}
        assert json.loads(self.run('plan', model, '--json').stdout)
        source = self.logits(model, ids)
        store = self.path('store')
        self.run('pack', model, store)
        assert np.array_equal(self.logits(store, ids), source), 'the store has other logits'
        out, warned = self.quantise(model, '--recipe', 'even')
        assert warned or formats <= {'bf16', 'f16', 'f32'}, formats
        own = self.logits(out, ids, '--backend', 'ref')
        again, _ = self.quantise(store, '--recipe', 'even')
        assert np.array_equal(self.logits(again, ids, '--backend', 'ref'), own), 'the store quantises differently'
        shutil.rmtree(store)
        said = f'{name}: {", ".join(sorted(formats))}: 8 bits change {distance(own, golden):.1e} (median of the tokens)'
        if name == 'gguf_qwen3next_split_qkv':
            return print(f'{said}; mlx-lm knows no layers in this order', flush=True)
        mlx_error = distance(mlx_logits(out, ids, bool(files)), own)
        print(f'{said}; mlx-lm {mlx_error:.1e} from ours', flush=True)
        assert mlx_error < 1e-4

    def check_text(self, name, model, reference):
        """Of a model with a tokenizer: imatrix, eval, and what transformers makes of the result."""
        matrix, text = self.path('matrix'), self.path('text.txt')
        with open(os.path.join(EVAL, 'text.txt')) as file, open(text, 'w') as part:
            part.write(file.read()[:6000])
        self.run('imatrix', model, text, '-o', matrix)
        out, warned = self.quantise(model, '--imatrix', matrix)
        self.run('plan', model, '--json')
        scores = [json.loads(self.run('eval', m, '--text', text, '--base', reference, '--json').stdout) for m in (model, out)]
        tokenizer = transformers.AutoTokenizer.from_pretrained(out)
        sample = open(text).read()
        assert tokenizer.encode(sample) == json.loads(self.run('tokenize', out, '--parse-special', text=sample).stdout)
        assert tokenizer.encode(sample) == json.loads(self.run('tokenize', reference, '--parse-special', text=sample).stdout)
        chat = {'messages': [{'role': 'user', 'content': 'What is 2 + 3?'}], 'add_generation_prompt': True}
        with open(self.path('chat.json'), 'w') as file:
            json.dump(chat, file)
        rendered = self.run('render', out, '--context', self.path('chat.json')).stdout
        if tokenizer.chat_template:
            assert rendered == tokenizer.apply_chat_template(chat['messages'], add_generation_prompt=True, tokenize=False)
        if os.path.exists(os.path.join(out, 'generation_config.json')):
            transformers.GenerationConfig.from_pretrained(out)
        answers = [self.run('run', m, 'What is the capital of France?', '--temp', 0, '-n', 20).stdout for m in (model, out)]
        print(f'{name}: KL from the original {scores[0]["kl_mean"]:.2e}, quantised to 8 bits {scores[1]["kl_mean"]:.2e}; '
              f'tokens and template by transformers are ours; warned: {warned}; {answers}', flush=True)
        assert answers[0] == answers[1]


def mlx_logits(folder, ids, complete):
    """By mlx-lm. Configurations of the golden models leave out what transformers has by default and mlx-lm has not; those
    that flashmoe wrote are `complete`."""
    folder = pathlib.Path(folder)
    config = json.loads((folder / 'config.json').read_text())
    model, _ = load_model(folder, model_config={} if complete else overrides(config))
    model.update(mlx.utils.tree_map(
        lambda p: p.astype(mx.float32) if mx.issubdtype(p.dtype, mx.floating) else p, model.parameters()))
    tokens = [int(line) for line in open(ids).read().split()]
    return np.array(model(mx.array(tokens)[None])[0])


def distance(a, b):
    """Median over the tokens of the relative distance."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(np.median(np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build')
    parser.add_argument('tiny')
    parser.add_argument('--work')
    options = parser.parse_args()
    mx.set_default_device(mx.cpu)
    work = tempfile.mkdtemp(dir=options.work)
    checker = Checker(os.path.join(options.build, 'flashmoe'), work)
    for name in KINDS:
        checker.check_golden(name)
    gguf, mlx_model = os.path.join(work, 'tiny.gguf'), os.path.join(HERE, '..', 'models', 'tiny')
    subprocess.run([sys.executable, os.path.join(HERE, 'make_gguf.py'), options.tiny, gguf], check=True)
    checker.run('pack', gguf, os.path.join(work, 'gguf-store'))
    flash_moe, writer = os.path.join(work, 'flash-moe'), os.path.join(options.build, 'tests', 'cli', 'write_flash_moe')
    subprocess.run([writer, mlx_model, flash_moe, 'lz4'], check=True)
    for name, model in (('bf16', options.tiny), ('GGUF', gguf), ('store of GGUF', os.path.join(work, 'gguf-store')),
                        ('MLX', mlx_model), ('flash-moe, LZ4', flash_moe)):
        checker.check_text(name, model, options.tiny)
    shutil.rmtree(work)


if __name__ == '__main__':
    main()
