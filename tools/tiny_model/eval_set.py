"""Writes what the tiny model is judged by, and a text to calibrate its quantisation with.

Conversations come from corpus.py with seeds of their own, so that none of the sampled requests was
trained on (facts such as capitals and definitions were). Calibration and judgement do not share a seed.

    tasks.jsonl      one task a line: kind, messages, tools, and `want`, the exact answer
    text.txt         whole conversations as the chat template renders them, for perplexity and KL
    calibration.txt  the same from another seed, for `flashmoe imatrix`

usage: eval_set.py OUT_DIR        (needs jinja2; models/tiny/eval is its output)
"""
import json, os, random, sys

import jinja2

import corpus

TASK_SEED, TEXT_SEED, CALIBRATION_SEED = 770001, 770002, 770003
TEXT_CONVERSATIONS, CALIBRATION_CONVERSATIONS = 120, 600
# kind, its generator in corpus.py, how many
KINDS = [('tool_call', 'tool', 150), ('arithmetic', 'arith', 100), ('capitals', 'capital', 60), ('definitions', 'define', 100)]

with open(os.path.join(corpus.HERE, 'chat_template.jinja')) as f:
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, extensions=['jinja2.ext.loopcontrols'])
    environment.filters['tojson'] = lambda value: json.dumps(value, ensure_ascii=False)
    template = environment.from_string(f.read())

def render(conversation):
    return template.render(messages=conversation['messages'], tools=conversation.get('tools'))

def answer(message):
    """What the model must say to have made this message."""
    rendered = template.render(messages=[{'role': 'user', 'content': ''}, message])
    return rendered.split('<|im_start|>assistant\n')[1].removesuffix('<|im_end|>\n')

def tasks():
    r = random.Random(TASK_SEED)
    for kind, generator, count in KINDS:
        seen = set()
        while len(seen) < count:
            c = corpus.conversation(r, generator)
            first = next(i for i, m in enumerate(c['messages']) if m['role'] == 'assistant')
            if kind == 'tool_call' and not c['messages'][first].get('tool_calls'):
                continue
            task = {'kind': kind, 'messages': c['messages'][:first]}
            if 'tools' in c:
                task['tools'] = c['tools']
            line = json.dumps(task | {'want': answer(c['messages'][first])})
            if line not in seen:
                seen.add(line)
                yield line

def text(seed, count):
    r = random.Random(seed)
    return ''.join(render(corpus.conversation(r)) + '<|endoftext|>' for _ in range(count))

if __name__ == '__main__':
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    for name, content in (('tasks.jsonl', ''.join(line + '\n' for line in tasks())),
                          ('text.txt', text(TEXT_SEED, TEXT_CONVERSATIONS)),
                          ('calibration.txt', text(CALIBRATION_SEED, CALIBRATION_CONVERSATIONS))):
        with open(os.path.join(out, name), 'w') as f:
            f.write(content)
