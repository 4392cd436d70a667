#!/usr/bin/env python3
"""Writes a GGUF file with random weights and the true shape of a Qwen mixture-of-experts model.

    make_gguf.py qwen3.5-35b-a3b model.gguf [--layers N] [--type q4_0|q4_k] [--seed S]

Matrices consist of random valid blocks of 4.5 bits a weight, scaled so that activations stay of the order
of one; norms, router and the small vectors of the delta net are float32, as in published files. The
tokenizer is the 256 bytes, one merge, and unused entries up to the size of the vocabulary. Tensors are
written one after the other: memory holds one of them at most. Shapes: src/convert/synth_shapes.cc.
"""

import argparse

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType

HEAD_DIM, DELTA_DIM, TAPS, INTERVAL, CONTEXT = 256, 128, 4, 4, 262144
QWEN35, QWEN3_NEXT = "qwen35moe", "qwen3next"

# architecture, vocabulary, layers, hidden, heads, kv heads, key heads, value heads, experts, top k, expert width
SHAPES = {
    "qwen3.5-35b-a3b": (QWEN35, 248320, 40, 2048, 16, 2, 16, 32, 256, 8, 512),
    "qwen3.5-122b-a10b": (QWEN35, 248320, 48, 3072, 32, 2, 16, 64, 256, 8, 1024),
    "qwen3.5-397b-a17b": (QWEN35, 248320, 60, 4096, 32, 2, 16, 64, 512, 10, 1024),
    "qwen3-next-80b-a3b": (QWEN3_NEXT, 151936, 48, 2048, 16, 2, 16, 32, 512, 10, 512),
}

POOL_BYTES = 64 << 20


def q4_0_blocks(rng, count, std):
    """32 weights: d (f16), then 32 nibbles; weight = d * (nibble - 8). Nibble 0 is left out: the mean is 0."""
    blocks = np.empty((count, 18), np.uint8)
    # The standard deviation of 1..15 is sqrt((15 * 15 - 1) / 12).
    d = (std / np.sqrt(224 / 12) * rng.uniform(0.8, 1.2, count)).astype("<f2")
    blocks[:, :2] = d.view(np.uint8).reshape(count, 2)
    nibbles = np.where((all_bytes := np.arange(256)) & 15, all_bytes & 15, 8)
    high = np.where(all_bytes >> 4, all_bytes >> 4, 8)
    table = (nibbles | high << 4).astype(np.uint8)
    blocks[:, 2:] = table[rng.integers(0, 256, (count, 16), np.uint8)]
    return blocks


def q4_k_blocks(rng, count, std):
    """256 weights: d, dmin (f16), 8 scales and 8 minima of 6 bits, 256 nibbles; weight = d * scale * nibble -
    dmin * minimum. Minima equal to the scales and dmin = 7.5 * d make the mean 0."""
    blocks = np.empty((count, 144), np.uint8)
    scales = rng.integers(32, 64, (count, 8), np.uint8)
    # The standard deviation of 0..15 is sqrt((16 * 16 - 1) / 12).
    d = np.full(count, std / (np.sqrt(255 / 12) * 47.5), "<f2")
    blocks[:, 0:2] = d.view(np.uint8).reshape(count, 2)
    blocks[:, 2:4] = (d * np.float32(7.5)).astype("<f2").view(np.uint8).reshape(count, 2)
    low, high = scales[:, :4], scales[:, 4:]
    blocks[:, 4:8] = blocks[:, 8:12] = low | (high >> 4) << 6
    blocks[:, 12:16] = (high & 15) * 17
    blocks[:, 16:] = rng.integers(0, 256, (count, 128), np.uint8)
    return blocks


# type id, weights a block, bytes a block, maker, general.file_type
BLOCK_TYPES = {
    "q4_0": (GGMLQuantizationType.Q4_0, 32, 18, q4_0_blocks, 2),
    "q4_k": (GGMLQuantizationType.Q4_K, 256, 144, q4_k_blocks, 15),
}


class Weights:
    """Makes the bytes of a tensor. Blocks are cut out of one random pool for each row length."""

    def __init__(self, block_type, seed):
        self.type, self.block_weights, self.block_bytes, self.make, _ = BLOCK_TYPES[block_type]
        self.rng = np.random.default_rng(seed)
        self.pools = {}

    def packed_shape(self, shape):
        return (*shape[:-1], shape[-1] // self.block_weights * self.block_bytes)

    def blocks(self, shape):
        row = shape[-1]
        if row not in self.pools:
            self.pools[row] = self.make(self.rng, POOL_BYTES // self.block_bytes, row**-0.5)
        pool = self.pools[row]
        packed = self.packed_shape(shape)
        flat = np.empty((np.prod(packed) // self.block_bytes, self.block_bytes), np.uint8)
        done = 0
        while done < len(flat):
            start = self.rng.integers(0, len(pool))
            piece = pool[start : start + len(flat) - done]
            flat[done : done + len(piece)] = piece
            done += len(piece)
        return flat.reshape(packed)

    def floats(self, shape, low, high):
        return self.rng.uniform(low, high, shape).astype(np.float32)


def tensors(config):
    """Yields (name, numpy shape, kind): None for packed blocks, else the range of uniform float32."""
    arch, vocabulary, layers, hidden, heads, kv_heads, key_heads, value_heads, experts, _, width = config
    value_size = value_heads * DELTA_DIM
    channels = 2 * key_heads * DELTA_DIM + value_size
    norm = (0.9, 1.1)
    uniform = lambda fan_in: (-((3 / fan_in) ** 0.5), (3 / fan_in) ** 0.5)

    yield "token_embd.weight", (vocabulary, hidden), None
    yield "output_norm.weight", (hidden,), norm
    yield "output.weight", (vocabulary, hidden), None
    for i in range(layers):
        b = f"blk.{i}."
        yield b + "attn_norm.weight", (hidden,), norm
        yield b + "post_attention_norm.weight", (hidden,), norm
        if (i + 1) % INTERVAL == 0:
            yield b + "attn_q.weight", (2 * heads * HEAD_DIM, hidden), None
            yield b + "attn_k.weight", (kv_heads * HEAD_DIM, hidden), None
            yield b + "attn_v.weight", (kv_heads * HEAD_DIM, hidden), None
            yield b + "attn_output.weight", (hidden, heads * HEAD_DIM), None
            yield b + "attn_q_norm.weight", (HEAD_DIM,), norm
            yield b + "attn_k_norm.weight", (HEAD_DIM,), norm
        else:
            yield b + "attn_qkv.weight", (channels, hidden), None
            yield b + "attn_gate.weight", (value_size, hidden), None
            if arch == QWEN35:
                yield b + "ssm_beta.weight", (value_heads, hidden), None
                yield b + "ssm_alpha.weight", (value_heads, hidden), None
            else:
                yield b + "ssm_ba.weight", (2 * value_heads, hidden), None
            yield b + "ssm_conv1d.weight", (channels, TAPS), uniform(TAPS)
            yield b + "ssm_a", (value_heads,), (-16, -0.5)
            yield b + "ssm_dt.bias", (value_heads,), (-6, -2)
            yield b + "ssm_norm.weight", (DELTA_DIM,), norm
            yield b + "ssm_out.weight", (hidden, value_size), None
        yield b + "ffn_gate_inp.weight", (experts, hidden), uniform(hidden)
        yield b + "ffn_gate_exps.weight", (experts, width, hidden), None
        yield b + "ffn_up_exps.weight", (experts, width, hidden), None
        yield b + "ffn_down_exps.weight", (experts, hidden, width), None
        yield b + "ffn_gate_inp_shexp.weight", (hidden,), uniform(hidden)
        yield b + "ffn_gate_shexp.weight", (width, hidden), None
        yield b + "ffn_up_shexp.weight", (width, hidden), None
        yield b + "ffn_down_shexp.weight", (hidden, width), None


def byte_spelling():
    """The character that stands for each byte in byte-level vocabularies: itself if printable, else from U+0100 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(others)) for b in range(256)]


def add_tokenizer(writer, arch, vocabulary):
    spelling = byte_spelling()
    space = spelling[ord(" ")]
    tokens = [*spelling, space + "t", "<|endoftext|>"]
    types = [TokenType.NORMAL] * (len(tokens) - 1) + [TokenType.CONTROL]
    end = len(tokens) - 1
    padding = vocabulary - len(tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen35" if arch == QWEN35 else "qwen2")
    writer.add_token_list(tokens + [f"[PAD{i}]" for i in range(padding)])
    writer.add_token_types(types + [TokenType.UNUSED] * padding)
    writer.add_token_merges([f"{space} t"])
    writer.add_eos_token_id(end)
    writer.add_pad_token_id(end)
    writer.add_add_bos_token(False)


def add_metadata(writer, name, config, block_type):
    arch, vocabulary, layers, hidden, heads, kv_heads, key_heads, value_heads, experts, top_k, width = config
    writer.add_name(f"{name} (random weights)")
    writer.add_file_type(BLOCK_TYPES[block_type][-1])
    writer.add_quantization_version(2)
    writer.add_block_count(layers)
    writer.add_embedding_length(hidden)
    writer.add_context_length(CONTEXT)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e7)
    writer.add_rope_dimension_count(HEAD_DIM // 4)
    if arch == QWEN35:
        writer.add_rope_dimension_sections([11, 11, 10, 0])
    writer.add_expert_count(experts)
    writer.add_expert_used_count(top_k)
    writer.add_expert_feed_forward_length(width)
    writer.add_expert_shared_feed_forward_length(width)
    writer.add_full_attention_interval(INTERVAL)
    writer.add_ssm_conv_kernel(TAPS)
    writer.add_ssm_state_size(DELTA_DIM)
    writer.add_ssm_group_count(key_heads)
    writer.add_ssm_time_step_rank(value_heads)
    writer.add_ssm_inner_size(value_heads * DELTA_DIM)
    add_tokenizer(writer, arch, vocabulary)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("out")
    parser.add_argument("--layers", type=int, help="only the first N layers")
    parser.add_argument("--type", choices=BLOCK_TYPES, default="q4_0")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    config = list(SHAPES[args.shape])
    if args.layers:
        config[2] = min(args.layers, config[2])
    weights = Weights(args.type, args.seed)
    writer = GGUFWriter(args.out, config[0])
    add_metadata(writer, args.shape, config, args.type)
    for name, shape, bounds in tensors(config):
        if bounds is None:
            packed = weights.packed_shape(shape)
            writer.add_tensor_info(name, packed, np.dtype(np.uint8), int(np.prod(packed)), weights.type)
        else:
            writer.add_tensor_info(name, shape, np.dtype(np.float32), 4 * int(np.prod(shape)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, shape, bounds in tensors(config):
        writer.write_tensor_data(weights.blocks(shape) if bounds is None else weights.floats(shape, *bounds))
    writer.close()


if __name__ == "__main__":
    main()
