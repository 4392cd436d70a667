#!/usr/bin/env python3
"""Makes tests/golden/models/tiny: logits of the trained tiny model in bf16, without its weights.

usage: make_tiny.py [MODEL]     MODEL: the tiny-bf16 folder, by default ../shared/models/tiny-bf16

For each of two rendered chats, N = 0 and 1:
  ids_N.txt          token ids, one a line
  argmax_N.txt       the likeliest next token at every position, one a line
  last_logits_N.npy  float32 [8, vocabulary]: the logits of the last 8 positions
"""
import os
import sys

import numpy as np
from transformers import PreTrainedTokenizerFast

import goldens
import layouts
import reference

LAST = 8
# Of the candidates the one farthest from ties of routes (in units of probability) and of argmax (in
# units of logits) is taken: near one, a correct engine might choose the other by float32 rounding.
ROUTING_UNIT, ARGMAX_UNIT = 1e-5, 1e-3


def turns():
    """Candidates for the first golden: several turns with a system message."""
    for number in range(11, 27):
        yield {'messages': [
            {'role': 'system', 'content': 'You are a helpful assistant.'},
            {'role': 'user', 'content': 'What is the capital of France?'},
            {'role': 'assistant', 'content': 'The capital of France is Paris.'},
            {'role': 'user', 'content': f'What is {number} + 27?'}]}


def tools():
    """Candidates for the second: a tool, with several system messages and spellings."""
    for system in ('You can use tools.', 'Answer with the tools when they help.', 'Be brief.'):
        for name in ('get_weather', 'weather', 'fetch_weather', 'weather_lookup'):
            yield {
                'messages': [{'role': 'system', 'content': system},
                             {'role': 'user', 'content': 'What is the weather in Paris?'}],
                'tools': [{'type': 'function', 'function': {
                    'name': name, 'description': 'Current weather of a place',
                    'parameters': {'type': 'object', 'properties': {'city': {'type': 'string'}},
                                   'required': ['city']}}}]}


def write_lines(folder, name, values):
    with open(os.path.join(folder, name), 'w') as f:
        f.writelines(f'{v}\n' for v in values)


def main():
    source = sys.argv[1] if len(sys.argv) > 1 else os.path.join(
        goldens.ROOT, '..', 'shared', 'models', 'tiny-bf16')
    config, tensors = layouts.load(source)
    model = reference.build(config, tensors)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(source)
    folder = goldens.new_folder('tiny')
    meta = {'covers': 'the trained tiny model in bf16 (weights not here: shared/models/tiny-bf16)',
            'made_by': 'tools/oracle/make_tiny.py', 'last_positions': LAST, 'chats': [],
            'reference': 'transformers, float32, eager', 'tokens': [], 'margins': [],
            'versions': reference.versions()}

    def run(chat):
        text = tokenizer.apply_chat_template(chat['messages'], tools=chat.get('tools'),
                                             tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False).input_ids
        logits = reference.teacher_forced(model, ids)
        best = np.sort(logits, axis=-1)
        return ids, logits, {'argmax': float((best[:, -1] - best[:, -2]).min()),
                             'routing': reference.routing(model, ids)[0]}

    for n, candidates in enumerate((turns(), tools())):
        chat, (ids, logits, margins) = max(
            ((chat, run(chat)) for chat in candidates),
            key=lambda c: min(c[1][2]['routing'] / ROUTING_UNIT, c[1][2]['argmax'] / ARGMAX_UNIT))
        meta['chats'].append(chat)
        meta['tokens'].append(len(ids))
        meta['margins'].append(margins)
        write_lines(folder, f'ids_{n}.txt', ids)
        write_lines(folder, f'argmax_{n}.txt', logits.argmax(-1))
        np.save(os.path.join(folder, f'last_logits_{n}.npy'), logits[-LAST:])
    goldens.write_json(folder, 'meta.json', meta)
    print(meta['tokens'], meta['margins'])


if __name__ == '__main__':
    main()
