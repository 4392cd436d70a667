#!/usr/bin/env python3
"""Greedy answers of flashmoe and of ik_llama.cpp on the same GGUF file, token by token.

    same_text.py FLASHMOE MODEL.gguf TASKS.jsonl [--count 12] [--tokens 40] [--exact]

Runs in the peer's environment (README.md). Prompts are the conversations of TASKS. Both get the same token ids. Where
they part, it prints how far apart the two best logits were for the peer: rounding may decide near ties only.
"""
import argparse
import json
import subprocess
import sys
import tempfile

import ik_worker
from ik_llama_cpp import _ctypes_api as api


def ours(options, *arguments, text=''):
    run = subprocess.run([options.flashmoe, *arguments], input=text, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(run.stderr)
    return run.stdout


def prompts(options):
    for line in list(open(options.tasks))[:: max(1, sum(1 for _ in open(options.tasks)) // options.count)]:
        task = json.loads(line)
        with tempfile.NamedTemporaryFile('w', suffix='.json') as file:
            json.dump({k: task[k] for k in ('messages', 'tools') if k in task} | {'add_generation_prompt': True}, file)
            file.flush()
            yield ours(options, 'render', options.model, '--context', file.name)


def best_two(model, vocabulary):
    logits = api.llama_get_logits_ith(model.context, -1)
    order = sorted(range(vocabulary), key=lambda i: -logits[i])[:2]
    return order[0], logits[order[0]] - logits[order[1]]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('flashmoe')
    parser.add_argument('model')
    parser.add_argument('tasks')
    parser.add_argument('--count', type=int, default=12)
    parser.add_argument('--tokens', type=int, default=40)
    parser.add_argument('--exact', action='store_true')
    options = parser.parse_args()
    peer = ik_worker.Model(options.model, 2, 2048, False)
    vocabulary = json.loads(ours(options, 'inspect', options.model, '--json'))['vocabulary']
    same = total = 0
    for prompt in prompts(options):
        ids = json.loads(ours(options, 'tokenize', options.model, '--parse-special', text=prompt))
        mine = json.loads(ours(options, 'run', options.model, '--raw', '--parse-special', '--temp', '0', '--json', '-n',
                               str(options.tokens), *(['--exact'] if options.exact else []), prompt))['tokens']
        api.llama_kv_cache_clear(peer.context)
        peer.evaluate(ids, 0)
        theirs, gaps = [], []
        for _ in mine:
            token, gap = best_two(peer, vocabulary)
            theirs.append(token)
            gaps.append(gap)
            peer.evaluate([token], len(ids) + len(theirs) - 1)
        total += 1
        same += theirs == mine
        if theirs != mine:
            at = next(i for i, pair in enumerate(zip(theirs, mine)) if pair[0] != pair[1])
            print(f'part at token {at} of {len(mine)}, where the best two logits of the peer differ by {gaps[at]:.3f}')
    print(f'{same} of {total} answers are the same')


if __name__ == '__main__':
    main()
