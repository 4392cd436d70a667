"""Makes tests/golden/formats: small checkpoints written by the safetensors and mlx libraries, with
what a reader must find in them, and configurations as transformers reads them.

Needs torch, transformers 5.x, safetensors, numpy and mlx (on Linux `pip install "mlx[cpu]"`). Run:
    python tools/golden_formats.py
"""

import copy
import json
import pathlib
import struct

import mlx.core as mx
import numpy as np
import torch
import transformers
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/formats"


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def header(path):
    """Tensors of a safetensors file with offsets from its start."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    entries = json.loads(data[8 : 8 + size])
    entries.pop("__metadata__", None)
    found = {}
    for name, e in entries.items():
        begin, end = (8 + size + o for o in e["data_offsets"])
        found[name] = {
            "dtype": e["dtype"],
            "shape": e["shape"],
            "offset": begin,
            "bytes": data[begin:end].hex(),
        }
    return found


def plain():
    folder = OUT / "plain"
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(3, 5, generator=generator)
    tensors = {
        "f32.weight": weight,
        "f16.weight": weight.half(),
        "bf16.weight": weight.bfloat16(),
        "fp8.weight": weight.to(torch.float8_e4m3fn),
        "experts.gate_up_proj": torch.randn(2, 3, 4, generator=generator).bfloat16(),
        "norm.weight": torch.ones(3),
        "ids": torch.arange(3),
        "flags": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
    }
    path = folder / "model.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)
    write_json(folder / "config.json", {"model_type": "none"})
    write_json(OUT / "plain.json", header(path))


def affine():
    folder = OUT / "mlx"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(2)
    tensors, matrices = {}, {}
    quantization = {"group_size": 64, "bits": 4, "mode": "affine"}

    def add(path, shape, bits, group, dtype, entry):
        weight = mx.array(rng.standard_normal(shape).astype(np.float32)).astype(dtype)
        codes, scales, biases = mx.quantize(weight, group_size=group, bits=bits)
        tensors[path + ".weight"] = codes
        tensors[path + ".scales"] = scales
        tensors[path + ".biases"] = biases
        if entry is not None:
            quantization[path] = entry
        matrices[path] = {
            "bits": bits,
            "group": group,
            "dtype": str(dtype).split(".")[-1],
            "count": int(np.prod(shape[:-2])),
            "rows": shape[-2],
            "cols": shape[-1],
        }

    for bits in (2, 3, 4, 5, 6, 8):
        for group in (32, 64, 128):
            path = f"model.layers.{bits}.group{group}"
            add(path, (2, 128), bits, group, mx.bfloat16, {"bits": bits, "group_size": group})
    add("model.default", (3, 64), 4, 64, mx.float16, None)
    add("model.default_f32", (3, 64), 4, 64, mx.float32, True)
    add("model.stack", (2, 3, 64), 4, 64, mx.bfloat16, None)
    # No entry, and not the default: the shapes alone tell, with the number of columns.
    add("model.unnamed", (2, 96), 8, 32, mx.bfloat16, None)
    add("model.unnamed_alone", (2, 64), 5, 32, mx.bfloat16, None)
    weight = mx.array(rng.standard_normal((2, 64)).astype(np.float32))
    for mode in ("mxfp4", "mxfp8", "nvfp4"):
        codes, scales = mx.quantize(weight, mode=mode)
        tensors[f"model.{mode}.weight"], tensors[f"model.{mode}.scales"] = codes, scales
        quantization[f"model.{mode}"] = {"mode": mode}
    tensors["model.norm.weight"] = mx.ones((3,), dtype=mx.bfloat16)

    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2]}
    shards["model-00002-of-00002.safetensors"] = names[1::2]
    weight_map, found = {}, {}
    for shard, members in shards.items():
        mx.save_safetensors(str(folder / shard), {n: tensors[n] for n in members}, {"format": "mlx"})
        weight_map.update({n: shard for n in members})
        found.update({n: {"file": shard, **e} for n, e in header(folder / shard).items()})
    write_json(folder / "model.safetensors.index.json",
               {"metadata": {"total_size": 0}, "weight_map": dict(sorted(weight_map.items()))})
    write_json(folder / "config.json", {"model_type": "none", "quantization": quantization,
                                        "quantization_config": quantization})
    write_json(OUT / "mlx.json", {"tensors": found, "matrices": matrices})


REAL_35 = {
    "architectures": ["Qwen3_5MoeForConditionalGeneration"], "model_type": "qwen3_5_moe",
    "tie_word_embeddings": False,
    "text_config": {
        "model_type": "qwen3_5_moe_text", "attention_bias": False, "attn_output_gate": True,
        "eos_token_id": 248044, "full_attention_interval": 4, "head_dim": 256,
        "hidden_act": "silu", "hidden_size": 64, "num_hidden_layers": 4,
        "layer_types": ["linear_attention"] * 3 + ["full_attention"],
        "linear_num_key_heads": 2, "linear_num_value_heads": 8, "linear_key_head_dim": 16,
        "linear_value_head_dim": 32, "linear_conv_kernel_dim": 3,
        "max_position_embeddings": 262144, "moe_intermediate_size": 48,
        "num_attention_heads": 8, "num_key_value_heads": 2, "num_experts": 16,
        "num_experts_per_tok": 4, "rms_norm_eps": 1e-05, "shared_expert_intermediate_size": 40,
        "vocab_size": 1000, "mtp_num_hidden_layers": 1, "mamba_ssm_dtype": "float32",
        "rope_parameters": {"mrope_interleaved": True, "mrope_section": [11, 11, 10],
                            "partial_rotary_factor": 0.25, "rope_theta": 10000000,
                            "rope_type": "default"},
    },
    "vision_config": {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 32},
}

REAL_30B = {
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "attention_bias": False,
    "bos_token_id": 151643, "decoder_sparse_step": 1, "eos_token_id": 151645, "head_dim": 128,
    "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 6144,
    "max_position_embeddings": 40960, "max_window_layers": 48, "mlp_only_layers": [],
    "moe_intermediate_size": 768, "norm_topk_prob": True, "num_attention_heads": 32,
    "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 48,
    "num_key_value_heads": 4, "rms_norm_eps": 1e-06, "rope_scaling": None,
    "rope_theta": 1000000.0, "sliding_window": None, "tie_word_embeddings": False,
    "torch_dtype": "bfloat16", "use_sliding_window": False, "vocab_size": 151936,
}

CONFIGS = {
    "qwen3_moe defaults": {"model_type": "qwen3_moe"},
    "qwen3_next defaults": {"model_type": "qwen3_next"},
    "qwen3_5_moe_text defaults": {"model_type": "qwen3_5_moe_text"},
    "qwen3_5_moe in its wrapper": REAL_35,
    "qwen3_5_moe, tied by the wrapper": {**REAL_35, "tie_word_embeddings": True},
    "Qwen3-30B-A3B": REAL_30B,
    "qwen3_moe as transformers 5 saves it":
        {**transformers.Qwen3MoeConfig(num_experts=24, num_hidden_layers=2).to_dict()},
    "qwen3_moe with dense layers":
        {"model_type": "qwen3_moe", "num_hidden_layers": 7, "decoder_sparse_step": 2,
         "mlp_only_layers": [3], "intermediate_size": 96, "hidden_size": 96,
         "num_attention_heads": 6, "num_key_value_heads": 3, "tie_word_embeddings": True,
         "eos_token_id": [1, 2], "partial_rotary_factor": 0.5},
    "qwen3_next with an interval":
        {"model_type": "qwen3_next", "num_hidden_layers": 5, "full_attention_interval": 2,
         "rope_theta": 10000000, "partial_rotary_factor": 0.5, "norm_topk_prob": False,
         "decoder_sparse_step": 3, "head_dim": 64, "linear_num_value_heads": 16,
         "shared_expert_intermediate_size": 24},
    "qwen3_next, layer_types before the interval":
        {"model_type": "qwen3_next", "num_hidden_layers": 3, "full_attention_interval": 2,
         "layer_types": ["full_attention", "linear_attention", "linear_attention"],
         "rope_scaling": {"type": "default", "rope_theta": 7.0}, "rope_theta": 9.0},
    "qwen3_5_moe_text, a rotary width that is cut":
        {"model_type": "qwen3_5_moe_text", "num_hidden_layers": 2, "head_dim": 256,
         "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0,
                             "partial_rotary_factor": 0.305}, "norm_topk_prob": False},
}


def read_config(config):
    """The fields of ModelConfig, from transformers' configuration and a model without memory."""
    fields = copy.deepcopy(config)
    model_type = fields.pop("model_type")
    whole = transformers.AutoConfig.for_model(model_type, **fields)
    text = whole.get_text_config()
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(text)
    layers = model.model.layers
    kinds = ["delta" if hasattr(layer, "linear_attn") else "attention" for layer in layers]
    attention = next((l.self_attn for l in layers if hasattr(l, "self_attn")), None)
    delta = next((l.linear_attn for l in layers if hasattr(l, "linear_attn")), None)
    sparse = next(l.mlp for l in layers if hasattr(l.mlp, "experts"))
    shared = getattr(sparse, "shared_expert", None)
    expected = {
        "layers": len(layers), "hidden": text.hidden_size, "vocab": text.vocab_size,
        "max_context": text.max_position_embeddings, "rms_eps": model.model.norm.variance_epsilon
        if hasattr(model.model.norm, "variance_epsilon") else model.model.norm.eps,
        "tied": whole.tie_word_embeddings, "kinds": kinds,
        "routed": [hasattr(l.mlp, "experts") for l in layers],
        "kv_heads": text.num_key_value_heads, "heads": text.num_attention_heads,
        "rope_theta": float(text.rope_parameters["rope_theta"]),
        "rotary_dim": 2 * model.model.rotary_emb.inv_freq.numel(),
        "experts": sparse.gate.weight.shape[0], "experts_per_token": sparse.gate.top_k,
        "intermediate": sparse.experts.down_proj.shape[-1],
        "shared_intermediate": shared.down_proj.weight.shape[-1] if shared else 0,
        "normalize": bool(getattr(sparse.gate, "norm_topk_prob", True)),
        "eos": [] if text.eos_token_id is None else
               text.eos_token_id if isinstance(text.eos_token_id, list) else [text.eos_token_id],
    }
    if attention is not None:
        expected["head_dim"] = attention.head_dim
        expected["gated"] = attention.q_proj.weight.shape[0] == 2 * attention.o_proj.weight.shape[1]
    if delta is not None:
        expected.update({
            "delta_key_heads": delta.num_k_heads, "delta_value_heads": delta.num_v_heads,
            "delta_key_dim": delta.head_k_dim, "delta_value_dim": delta.head_v_dim,
            "conv_width": delta.conv1d.weight.shape[-1],
            "conv_channels": delta.conv1d.weight.shape[0],
        })
    dense = next((l.mlp for l in layers if not hasattr(l.mlp, "experts")), None)
    if dense is not None:
        expected["dense_intermediate"] = dense.down_proj.weight.shape[-1]
    return expected


GENERATION = [
    {},
    {"eos_token_id": 7},
    {"eos_token_id": [7, 8], "do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95,
     "min_p": 0.05, "repetition_penalty": 1.05},
    {"do_sample": True, "top_p": 0.8, "top_k": 0},
]


def read_generation(fields):
    config = transformers.GenerationConfig(**fields)
    default = config._get_default_generation_params()

    def value(key):
        own = getattr(config, key)
        return default.get(key) if own is None else own

    eos = config.eos_token_id
    return {
        "eos": [] if eos is None else eos if isinstance(eos, list) else [eos],
        "min_p": config.min_p or 0.0,
        **{k: value(k) for k in ("do_sample", "temperature", "top_k", "top_p",
                                 "repetition_penalty")},
    }


def main():
    plain()
    affine()
    write_json(OUT / "configs.json",
               [{"name": name, "config": config, "expected": read_config(config)}
                for name, config in CONFIGS.items()])
    write_json(OUT / "generation.json",
               [{"config": fields, "expected": read_generation(fields)} for fields in GENERATION])


if __name__ == "__main__":
    main()
