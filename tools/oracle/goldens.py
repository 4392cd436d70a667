"""What the golden makers share: random weights, and the folder of a golden.

A golden is a folder of tests/golden/models: a checkpoint (config.json, safetensors) with
  ids.txt     one token id a line: a random prompt, then the ids decoded greedily from it
  logits.npy  float32 [tokens, vocabulary]: the reference logits of all positions, teacher-forced
  meta.json   what it covers, where its prompt ends, and how it was made
"""
import json
import math
import os
import shutil

import numpy as np
import torch
from safetensors.torch import save_file

import reference

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODELS = os.path.join(ROOT, 'tests', 'golden', 'models')
PROMPT_TOKENS, DECODED_TOKENS = 24, 64
MIN_DISTINCT_IDS = 16  # a decoder that repeats itself tests little
MIN_EXPERT_USES = 2  # an expert that no token chooses is not tested
# Below these a correct engine might choose another expert or token by its own float32 rounding.
MIN_ROUTING_MARGIN, MIN_GREEDY_MARGIN = 1e-4, 1e-3


def random_tensor(name, shape, family, generator):
    """A random float32 weight, spread like a trained one: routes and logits are lively."""
    def normal(std):
        return torch.randn(shape, generator=generator) * std

    if name.endswith('A_log'):
        return (1 + 15 * torch.rand(shape, generator=generator)).log()
    if name.endswith('dt_bias'):  # softplus(dt_bias) in 0.001 to 0.1
        step = torch.exp(torch.rand(shape, generator=generator) * math.log(100) + math.log(1e-3))
        return torch.expm1(step).log()
    if name.endswith('norm.weight'):
        plain = family == 'qwen3_moe' or 'linear_attn.norm' in name
        return normal(0.2) + (1 if plain else 0)
    if name.endswith('conv1d.weight'):
        return normal(0.5)
    if name.endswith('embed_tokens.weight'):
        return normal(0.3)
    if name.endswith('mlp.gate.weight') or name == 'lm_head.weight':
        return normal(2 / math.sqrt(shape[-1]))
    return normal(1.2 / math.sqrt(shape[-1]))


def random_weights(config, seed):
    """{canonical name: float32 tensor}"""
    generator = torch.Generator().manual_seed(seed)
    family = reference.family_of(config)
    weights = {name: random_tensor(name, shape, family, generator)
               for name, shape in reference.parameter_shapes(config).items()}
    if reference.text_config(config).get('shared_expert_intermediate_size') == 0:
        weights = {n: w for n, w in weights.items() if 'shared_expert' not in n}
    return weights


def reference_run(config, weights, seed):
    """(ids, logits, checks) from transformers, or None where this seed makes a bad oracle."""
    model = reference.build(config, weights)
    generator = torch.Generator().manual_seed(seed + 1000)
    vocab = reference.text_config(config)['vocab_size']
    prompt = torch.randint(vocab, (PROMPT_TOKENS,), generator=generator).tolist()
    ids, cached = reference.greedy(model, prompt, DECODED_TOKENS)
    logits = reference.teacher_forced(model, ids)
    best = np.sort(logits[PROMPT_TOKENS - 1:], axis=-1)
    margin, uses = reference.routing(model, ids)
    checks = {
        'cached_against_teacher_forced': reference.relative_error(cached, logits),
        'routing_margin': margin,
        'least_used_expert': uses,
        'greedy_margin': float((best[:, -1] - best[:, -2]).min()),
        'distinct_decoded_ids': len(set(ids[PROMPT_TOKENS:])),
        'logit_std': float(logits.std()),
    }
    assert checks['cached_against_teacher_forced'] < 1e-5, checks
    if checks['distinct_decoded_ids'] < MIN_DISTINCT_IDS or uses < MIN_EXPERT_USES:
        return None
    if checks['routing_margin'] < MIN_ROUTING_MARGIN or checks['greedy_margin'] < MIN_GREEDY_MARGIN:
        return None
    return ids, logits, checks


def save_shards(folder, tensors, shards, pattern='model-{:05}-of-{:05}.safetensors', index=None):
    """Writes the tensors as one file, or as several with an index."""
    names = sorted(tensors)
    files = ['model.safetensors'] if shards == 1 else [
        pattern.format(i + 1, shards) for i in range(shards)]
    # Cut at equal counts: a layer's tensors then lie in two files.
    parts = [names[i * len(names) // shards:(i + 1) * len(names) // shards] for i in range(shards)]
    for file, part in zip(files, parts):
        save_file({n: tensors[n].contiguous() for n in part}, os.path.join(folder, file),
                  metadata={'format': 'pt'})
        os.chmod(os.path.join(folder, file), 0o644)
    if index or shards > 1:
        total = sum(t.numel() * t.element_size() for t in tensors.values())
        write_json(folder, 'model.safetensors.index.json', {
            'metadata': {'total_size': total},
            'weight_map': {n: file for file, part in zip(files, parts) for n in part}})


def write_json(folder, name, value):
    with open(os.path.join(folder, name), 'w') as f:
        json.dump(value, f, indent=2)
        f.write('\n')


def new_folder(name):
    folder = os.path.join(MODELS, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def write_run(folder, ids, logits, meta):
    with open(os.path.join(folder, 'ids.txt'), 'w') as f:
        f.writelines(f'{i}\n' for i in ids)
    np.save(os.path.join(folder, 'logits.npy'), logits.astype(np.float32))
    write_json(folder, 'meta.json', {**meta, 'prompt_tokens': PROMPT_TOKENS, 'tokens': len(ids)})


def folder_bytes(folder):
    return sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder))
