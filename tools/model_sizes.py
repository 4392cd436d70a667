#!/usr/bin/env python3
"""Computes the tables of docs/models.md from the published shapes.

usage: model_sizes.py               the tables, in Markdown
       model_sizes.py --check FLASHMOE MODEL SHAPE BITS    the figures against `flashmoe inspect` of a model of that
                                    shape (`flashmoe synth SHAPE MODEL --bits BITS`)
"""
import json
import subprocess
import sys

GIB = 2 ** 30
# layers, hidden, vocabulary, (heads, kv heads, dims of a head, gated), (key heads, value heads, dims) or None,
# (experts, of a token, inner units), inner units of the shared expert
SHAPES = {
    'Qwen3-30B-A3B, Qwen3-Coder-30B-A3B': (48, 2048, 151936, (32, 4, 128, False), None, (128, 8, 768), 0),
    'Qwen3.5-35B-A3B (also 3.6)': (40, 2048, 248320, (16, 2, 256, True), (16, 32, 128), (256, 8, 512), 512),
    'Qwen3-Next-80B-A3B, Qwen3-Coder-Next': (48, 2048, 151936, (16, 2, 256, True), (16, 32, 128), (512, 10, 512), 512),
    'Qwen3.5-122B-A10B': (48, 3072, 248320, (32, 2, 256, True), (16, 64, 128), (256, 8, 1024), 1024),
    'Qwen3-235B-A22B': (94, 4096, 151936, (64, 4, 128, False), None, (128, 8, 1536), 0),
    'Qwen3.5-397B-A17B': (60, 4096, 248320, (32, 2, 256, True), (16, 64, 128), (512, 10, 1024), 1024),
    'Qwen3-Coder-480B-A35B': (62, 6144, 151936, (96, 8, 128, False), None, (160, 8, 2560), 0),
}
NAMES = {'qwen3.5-35b-a3b': 'Qwen3.5-35B-A3B (also 3.6)', 'qwen3.5-397b-a17b': 'Qwen3.5-397B-A17B',
         'qwen3-next-80b-a3b': 'Qwen3-Next-80B-A3B, Qwen3-Coder-Next', 'qwen3.5-122b-a10b': 'Qwen3.5-122B-A10B'}


def weights(shape):
    """Numbers of weights by kind, and of norms and the like, which stay floats."""
    layers, hidden, vocab, (heads, kv, dim, gated), delta, (experts, _, inner), shared = shape
    attention = layers if delta is None else layers // 4
    w = {'embedding': vocab * hidden, 'head': vocab * hidden, 'router': layers * experts * hidden,
         'experts_up': layers * experts * 2 * inner * hidden, 'experts_down': layers * experts * inner * hidden,
         'attention_out': attention * heads * dim * hidden,
         'attention': attention * hidden * dim * ((2 if gated else 1) * heads + 2 * kv),
         'shared': layers * 2 * shared * hidden, 'shared_down': layers * shared * hidden,
         'shared_gate': layers * hidden if shared else 0, 'delta': 0, 'delta_out': 0, 'delta_gates': 0}
    floats = hidden + layers * 2 * hidden + attention * 2 * dim
    if delta:
        keys, values, width = delta
        nets, channels = layers - attention, (2 * keys + values) * width
        w.update(delta=nets * hidden * (channels + values * width), delta_out=nets * hidden * values * width,
                 delta_gates=nets * hidden * 2 * values)
        floats += nets * (4 * channels + 2 * values + width)
    return w, floats


EXPERTS = ('experts_up', 'experts_down')
GATES = ('router', 'shared_gate')


def affine(bits, group=64):
    return bits + 32 / group


def minmax(bits):
    return lambda kind: affine(8 if kind in GATES else bits)


def mixed(bits):
    """The recipe of that name: convert/recipe.cc."""
    if bits > 3:
        least = {'attention_out': 6, 'delta_out': 6, 'shared': 5, 'shared_down': 6, 'delta_gates': 8, 'router': 8,
                 'shared_gate': 8}
        return lambda kind: affine(max(bits, least.get(kind, 0)))
    least = {'attention_out': 5, 'attention': 4, 'delta_out': 5, 'delta': 4, 'shared': 5, 'shared_down': 6,
             'embedding': 5, 'head': 5}
    return lambda kind: (affine(8) if kind in (*GATES, 'delta_gates')
                         else affine(max(bits, least.get(kind, 0)), 64 if kind == 'experts_down' else 128))


def others(bits, rest=16):
    """What other tools leave alone: embedding, head, routers and gates."""
    return lambda kind: rest if kind in ('embedding', 'head', 'delta_gates', *GATES) else bits


def pure(bits):
    """A GGUF file of one type; its routers are float32."""
    return lambda kind: 32 if kind in GATES else bits


FORMATS = {
    'bf16': lambda kind: 16,
    'fp8, 128 x 128 blocks': others(8 + 16 / 128 ** 2),
    'MLX affine 8': minmax(8), 'MLX affine 6': minmax(6), 'MLX affine 5': minmax(5), 'MLX affine 4': minmax(4),
    'MLX affine 3': minmax(3), 'MLX affine 2': minmax(2),
    'ours, mixed 4': mixed(4), 'ours, mixed 3': mixed(3), 'ours, mixed 2': mixed(2),
    'MLX mxfp8': lambda kind: 8.25, 'MLX nvfp4': lambda kind: 4.5, 'MLX mxfp4': lambda kind: 4.25,
    'GPTQ, AWQ 4, g128': others(4 + 20 / 128), 'compressed-tensors w4a16, g128': others(4 + 16 / 128),
    'GGUF Q8_0': pure(8.5), 'GGUF Q6_K': pure(6.5625), 'GGUF Q5_K': pure(5.5), 'GGUF Q4_K, Q4_0': pure(4.5),
    'GGUF IQ4_XS': pure(4.25), 'GGUF Q3_K': pure(3.4375), 'GGUF Q2_K': pure(2.625), 'GGUF IQ2_XS': pure(2.3125),
    'GGUF TQ2_0': pure(2.0625), 'GGUF IQ1_S': pure(1.5625),
}


def sizes(shape, bits_of):
    """Bytes of dense weights, of experts, and of the experts of a token."""
    w, floats = weights(shape)
    total = {kind: n * bits_of(kind) / 8 for kind, n in w.items()}
    experts = sum(total[kind] for kind in EXPERTS)
    dense = sum(total.values()) - experts + 2 * floats
    return dense, experts, experts * shape[5][1] / shape[5][0]


def state_bytes(shape):
    """Of a token of context in f16, and of the delta net's state in float32."""
    layers, _, _, (_, kv, dim, _), delta, _, _ = shape
    if delta is None:
        return layers * kv * dim * 4, 0
    keys, values, width = delta
    state = values * width * width + 3 * (2 * keys + values) * width
    return layers // 4 * kv * dim * 4, 4 * (layers - layers // 4) * state


def table(header, rows):
    print('| ' + ' | '.join(header) + ' |')
    print('|---' + '|---:' * (len(header) - 1) + '|')
    for row in rows:
        print('| ' + ' | '.join(row) + ' |')
    print()


def print_sizes():
    choice = ['bf16', 'MLX affine 8', 'MLX affine 6', 'MLX affine 4', 'ours, mixed 4', 'ours, mixed 3', 'ours, mixed 2']
    rows = []
    for name, shape in SHAPES.items():
        all_sizes = [sizes(shape, FORMATS[f]) for f in choice]
        for i, what in enumerate(('dense', 'experts', 'a token')):
            rows.append([name if i == 0 else '', what] +
                        [f'{s[i] / GIB:.{2 if i == 2 else 1}f}' for s in all_sizes])
    table(['model', 'GiB', *choice], rows)


def print_formats():
    rows = []
    for name, bits_of in FORMATS.items():
        row = [name, f'{bits_of("experts_up"):.2f}']
        for model in ('Qwen3.5-35B-A3B (also 3.6)', 'Qwen3-Next-80B-A3B, Qwen3-Coder-Next', 'Qwen3.5-397B-A17B'):
            dense, experts, token = sizes(SHAPES[model], bits_of)
            row += [f'{dense / GIB:.1f} + {experts / GIB:.1f}', f'{token / GIB:.2f}']
        rows.append(row)
    table(['format', 'bits of an expert', '35B: dense + experts', 'a token', '80B', 'a token', '397B', 'a token'], rows)


def print_memory():
    """The share of the experts that fits beside dense weights, 8,192 tokens of context and 1 GiB of all else."""
    rows = []
    for memory in (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512):
        row = [f'{memory} GiB']
        for model, shape in SHAPES.items():
            best = '-'
            for name in ('MLX affine 8', 'MLX affine 6', 'MLX affine 5', 'ours, mixed 4', 'ours, mixed 3', 'ours, mixed 2'):
                dense, experts, token = sizes(shape, FORMATS[name])
                token_state, state = state_bytes(shape)
                left = 0.95 * memory * GIB - GIB - dense - 8192 * token_state - 2 * state
                if left >= experts:
                    best = f'{name.split()[-1]} bits'
                    break
                if name == 'ours, mixed 4':
                    streamed = f'{left / experts:.0%}' if left > 4 * token / shape[0] else '-'
                if name == 'ours, mixed 2':
                    best = streamed
            row.append(best)
        rows.append(row)
    table(['memory', *(n.split(',')[0].split(' ')[0] for n in SHAPES)], rows)


def check(flashmoe, model, name, bits):
    run = subprocess.run([flashmoe, 'inspect', model, '--json'], capture_output=True, text=True, check=True)
    said, shape = json.loads(run.stdout), SHAPES[NAMES[name]]
    dense, experts, token = sizes(shape, FORMATS['bf16'] if bits == '16' else minmax(int(bits)))
    print(f'dense {dense:.0f}, inspect {said["dense_bytes"]}; experts {experts:.0f}, inspect {said["routed_bytes"]}; a '
          f'token {token:.0f}, inspect {said["token_expert_bytes"]}')
    assert abs(said['dense_bytes'] / dense - 1) < 1e-5  # a few of the floats are of four bytes
    assert said['routed_bytes'] == experts and said['token_expert_bytes'] == token
    assert (said['kv_token_bytes'], said['recurrent_bytes']) == state_bytes(shape)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--check']:
        check(*sys.argv[2:6])
    else:
        print_sizes()
        print_formats()
        print_memory()
