"""The oracle of all logits: transformers' models in float32 on the CPU, in plain torch.

A model is built from a config.json (as a dict) and a dict of float32 tensors under canonical names:
those of transformers' modules, `model.layers.N...` and `lm_head.weight`, with fused experts.
`layouts.py` turns any checkpoint layout into these names.
"""
import logging
import warnings

import numpy as np
import torch
import transformers
from transformers import (Qwen3_5MoeForCausalLM, Qwen3_5MoeTextConfig, Qwen3MoeConfig,
                          Qwen3MoeForCausalLM, Qwen3NextConfig, Qwen3NextForCausalLM)

transformers.logging.set_verbosity_error()
logging.getLogger('transformers').setLevel(logging.ERROR)
warnings.filterwarnings('ignore', message='Initializing zero-element tensors')

FAMILIES = {
    'qwen3_moe': (Qwen3MoeConfig, Qwen3MoeForCausalLM),
    'qwen3_next': (Qwen3NextConfig, Qwen3NextForCausalLM),
    'qwen3_5_moe': (Qwen3_5MoeTextConfig, Qwen3_5MoeForCausalLM),
}


def family_of(config):
    """The family of a config.json, whether it wraps a text model or is one."""
    return text_config(config)['model_type'].removesuffix('_text')


def text_config(config):
    return config.get('text_config', config)


def empty_model(config):
    """The model that a config.json describes, on the meta device: names and shapes only."""
    config_class, model_class = FAMILIES[family_of(config)]
    settings = config_class.from_dict(dict(text_config(config)))
    if 'tie_word_embeddings' in config:  # the wrapper's word counts
        settings.tie_word_embeddings = config['tie_word_embeddings']
    with torch.device('meta'):
        return model_class._from_config(settings, dtype=torch.float32, attn_implementation='eager',
                                        experts_implementation='eager')


def parameter_shapes(config):
    """{canonical name: shape} of the tensors that a checkpoint of this config holds."""
    model = empty_model(config)
    shapes = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del shapes['lm_head.weight']
    return {name: shape for name, shape in shapes.items() if 0 not in shape}


def build(config, tensors):
    """The model with {canonical name: float32 tensor}, of which none may be missing or too many."""
    config_class, model_class = FAMILIES[family_of(config)]
    settings = empty_model(config).config
    model = model_class._from_config(settings, dtype=torch.float32, attn_implementation='eager',
                                     experts_implementation='eager')
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    absent = {name for name in missing if 0 not in model.state_dict()[name].shape}
    if settings.tie_word_embeddings:
        absent.discard('lm_head.weight')
    if not settings.to_dict().get('shared_expert_intermediate_size', 1):
        # No shared expert: transformers still has its gate, times an output of zeros.
        absent = {name for name in absent if not name.endswith('mlp.shared_expert_gate.weight')}
    assert not absent and not unexpected, (sorted(absent), unexpected)
    return model.eval()


@torch.no_grad()
def teacher_forced(model, ids):
    """Logits of all positions in one pass, float32 [tokens, vocabulary]."""
    return model(torch.tensor(ids)[None], use_cache=False).logits[0].float().numpy()


@torch.no_grad()
def greedy(model, prompt, count):
    """Decodes `count` tokens with transformers' cache: (prompt and decoded ids, all logits)."""
    ids, rows = list(prompt), []
    out = model(torch.tensor(ids)[None], use_cache=True)
    rows.append(out.logits[0])
    for _ in range(count):
        ids.append(int(rows[-1][-1].argmax()))
        out = model(torch.tensor(ids[-1:])[None], past_key_values=out.past_key_values,
                    use_cache=True)
        rows.append(out.logits[0])
    return ids, torch.cat(rows).float().numpy()


@torch.no_grad()
def routing(model, ids):
    """(margin, uses): the smallest gap, over all tokens and layers, between the probability of the
    last expert chosen and the next one's; and how many tokens chose the least used expert."""
    gaps, uses = [], []

    def hook(router, _inputs, outputs):
        best = outputs[0].float().softmax(-1).sort(-1, descending=True)
        gaps.append((best.values[:, router.top_k - 1] - best.values[:, router.top_k]).min().item())
        chosen = best.indices[:, :router.top_k].flatten()
        uses.append(chosen.bincount(minlength=router.num_experts).min().item())

    hooks = [m.register_forward_hook(hook) for m in model.modules()
             if type(m).__name__.endswith('TopKRouter')]
    assert hooks
    model(torch.tensor(ids)[None], use_cache=False)
    for h in hooks:
        h.remove()
    return min(gaps), min(uses)


def relative_error(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def versions():
    return {'torch': torch.__version__, 'transformers': transformers.__version__,
            'numpy': np.__version__}
