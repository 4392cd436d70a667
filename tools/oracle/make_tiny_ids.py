"""Writes tests/golden/tiny_ids.txt: 512 token ids of held-out conversations of the embedded model's
own kind, one a line, for the test of the cpu backend's accuracy.

usage: make_tiny_ids.py   (packages: tokenizers, jinja2)
"""
import json
import pathlib
import random
import sys

import jinja2
from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools/tiny_model'))
import corpus  # noqa: E402

COUNT, SEED = 512, 20260

environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
environment.filters['tojson'] = lambda value: json.dumps(value, ensure_ascii=False)
template = environment.from_string((ROOT / 'tools/tiny_model/chat_template.jinja').read_text())
tokenizer = Tokenizer.from_file(str(ROOT / 'models/tiny/tokenizer.json'))

generator, ids = random.Random(SEED), []
while len(ids) < COUNT:
    conversation = corpus.conversation(generator)
    text = template.render(messages=conversation['messages'], tools=conversation.get('tools'))
    ids += tokenizer.encode(text, add_special_tokens=False).ids
(ROOT / 'tests/golden/tiny_ids.txt').write_text(''.join(f'{i}\n' for i in ids[:COUNT]))
