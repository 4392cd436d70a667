#!/usr/bin/env python3
"""Makes the tokenizer goldens and the Unicode tables from the `tokenizers` library.

    python tools/golden_tokenizers.py tables    > src/text/utf8_tables.inc
    python tools/golden_tokenizers.py small       tests/golden/tokenizers/small.json
    python tools/golden_tokenizers.py corpus      tests/golden/tokenizers/corpus.json

Needs `tokenizers` (0.23 was used). `small` holds tokenizers of our own, one per feature, with
texts and the ids that `tokenizers` gives. `corpus` holds hashes of the ids of a text that
`Corpus` below and tests/text/tokenizer_corpus_test.cc both generate from the same small recipe, for
the tokenizer of models/tiny and for those in ../shared/tokenizers.
"""
import json
import lzma
import os
import sys
import unicodedata

from tokenizers import (Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        trainers)

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCALARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]

# --- Unicode tables ---------------------------------------------------------------------------

# An old code point per category and length in UTF-8.
STAND_INS = {
    3: {'Lu': 0xA640, 'Ll': 0xA641, 'Mn': 0xA66F, 'Mc': 0xA823, 'Po': 0xA60D, 'So': 0xA490,
        'Cf': 0x2060},
    4: {'Lu': 0x10400, 'Ll': 0x10428, 'Lm': 0x16B40, 'Lo': 0x10300, 'Mn': 0x10376, 'Mc': 0x11000,
        'Nd': 0x104A0, 'No': 0x10107, 'Pd': 0x10EAD, 'Po': 0x10100, 'So': 0x1F000, 'Sm': 0x1D6C1,
        'Cf': 0x110BD},
}
HAN_STAND_IN = 0x20000


def matched(regex):
    """The code points that match `regex` in Oniguruma."""
    text = ''.join(map(chr, SCALARS))
    split = pre_tokenizers.Split(Regex(regex), 'removed', invert=True)
    found = set()
    for _, (begin, end) in split.pre_tokenize_str(text):
        found.update(SCALARS[begin:end])
    return found


def runs(values):
    """[(first, last, value)] of equal values at consecutive keys of a dictionary."""
    result = []
    for key in sorted(values):
        if result and result[-1][1] == key - 1 and result[-1][2] == values[key]:
            result[-1][1] = key
        else:
            result.append([key, key, values[key]])
    return result


def print_table(name, comment, rows):
    print(f'// {comment}')
    print(f'constexpr {name}[] = {{')
    line = '   '
    for row in rows:
        item = ' {' + ', '.join(f'{value:#x}' for value in row) + '},'
        if len(line) + len(item) > 100:
            print(line)
            line = '   '
        line += item
    print(line)
    print('};\n')


def tables():
    assert unicodedata.unidata_version == '14.0.0', 'the baseline is Unicode 14'
    stand_in = {0x180E: 0x2060}  # PCRE2 counts U+180E as space
    han = matched(r'\p{Han}')
    for category in ('Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp '
                     'Cc Cf Co').split():
        for c in matched(rf'\p{{{category}}}'):
            if unicodedata.category(chr(c)) != category:
                length = len(chr(c).encode())
                stand_in[c] = HAN_STAND_IN if c in han else STAND_INS[length][category]
    for c in stand_in.values():
        assert unicodedata.category(chr(c)) != 'Cn'

    inert = dict.fromkeys((c for c in stand_in if c not in (0x180E, 0x1171E)), 0)
    for form in ('NFD', 'NFC', 'NFKD', 'NFKC'):
        normalize = getattr(normalizers, form)().normalize_str
        for c in SCALARS:
            s = chr(c)
            parts = unicodedata.normalize('NFD', s)
            for text in (s, parts, f'a\u0345{s}\u0334', f'a{s}\u0301{s}', f'a\u0334{s}\u0323',
                         f'a\u05b0{s}\u0591'):
                if normalize(text) != unicodedata.normalize(form, text):
                    inert[c] = inert[ord(parts[-1])] = 0  # the last part must not compose

    print('// Made by `tools/golden_tokenizers.py tables`.')
    print('// clang-format off')
    print_table('StandInRange kStandIns', 'First, last, stand-in for each.', runs(stand_in))
    print_table('Range kInert', 'First, last.', [row[:2] for row in runs(inert)])

    text = 'a'.join(map(chr, SCALARS))
    punctuation = {ord(piece): 0 for piece, _ in
                   pre_tokenizers.Punctuation().pre_tokenize_str(text) if len(piece) == 1}
    del punctuation[ord('a')]
    print('constexpr char kPunctuation[] = "["')
    line = ''
    for first, last, _ in runs(punctuation):
        item = f'\\\\x{{{first:x}}}' + (f'-\\\\x{{{last:x}}}' if last > first else '')
        if len(line) + len(item) > 90:
            print(f'    "{line}"')
            line = ''
        line += item
    print(f'    "{line}]";')
    print('// clang-format on')


# --- Corpus -----------------------------------------------------------------------------------

GOLDEN = os.path.join(ROOT, 'tests', 'golden', 'tokenizers')
MASK = (1 << 64) - 1


class Random:
    """SplitMix64."""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
        return (z ^ z >> 31) % limit


def corpus():
    """Yields the blocks: as tests/text/tokenizer_corpus_test.cc does."""
    with open(os.path.join(GOLDEN, 'recipe.json')) as f:
        kinds = json.load(f)['kinds']
    for kind_index, kind in enumerate(kinds):
        for block in range(kind['blocks']):
            random = Random(kind_index * 1000 + block)
            if not kind['items']:
                data = bytes(random.below(256) for _ in range(kind['characters']))
                yield data.decode('utf-8', 'replace')
                continue
            parts, length = [], 0
            while length < kind['characters']:
                item = kind['items'][random.below(len(kind['items']))]
                if not isinstance(item, str):
                    c = item[0] + random.below(item[1] - item[0] + 1)
                    item = chr(c) if not 0xD800 <= c < 0xE000 else ''
                item *= 1 + random.below(kind['max_repeat'])
                parts.append(item)
                length += len(item)
            yield ''.join(parts)
    for plane in range(17):  # every code point
        parts = []
        for c in range(plane << 16, (plane + 1) << 16):
            if not 0xD800 <= c < 0xE000:
                parts.append(chr(c) + ('x' if c % 3 == 0 else ' ' if c % 3 == 1 else ''))
        yield ''.join(parts)


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def block_hash(tokenizer, text):
    """Of the ids without and with special tokens, and of what the latter decode to."""
    tokenizer.encode_special_tokens = True
    ids = tokenizer.encode(text, add_special_tokens=False).ids + [-1]
    tokenizer.encode_special_tokens = False
    special = tokenizer.encode(text, add_special_tokens=False).ids
    decoded = tokenizer.decode(special, skip_special_tokens=True)
    data = b''.join(i.to_bytes(4, 'little', signed=True) for i in ids + special + [-1])
    return f'{fnv(data + decoded.encode()):016x}'


def write_corpus(path):
    shared = os.path.join(ROOT, '..', 'shared')
    sources = {'tiny': os.path.join(shared, 'models/tiny-bf16/tokenizer.json'),
               'qwen3': os.path.join(shared, 'tokenizers/qwen3/tokenizer.json.xz'),
               'deepseek_v3': os.path.join(shared, 'tokenizers/deepseek_v3/tokenizer.json.xz')}
    blocks = list(corpus())
    result = {'characters': sum(map(len, blocks)), 'blocks': len(blocks)}
    for name, source in sources.items():
        opener = lzma.open if source.endswith('.xz') else open
        with opener(source, 'rb') as f:
            tokenizer = Tokenizer.from_str(f.read().decode())
        result[name] = [block_hash(tokenizer, text) for text in blocks]
    with open(path, 'w') as f:
        json.dump(result, f, indent=0)
        f.write('\n')


# --- Small tokenizers -------------------------------------------------------------------------

TRAINING = [
    'the quick brown fox jumps over the lazy dog and then the other', "don't we'll they're I'm",
    'for (int i = 0; i < n; ++i) { return x[i]; }', 'hello world hello there 2024 1234 the the',
    'über café naïve ½ ﬁ ① été', 'こんにちは世界 你好世界 世界', 'привет мир привет', '    if x:\n        y = 1\n\n',
]
TEXTS = [
    '', ' ', 'Hello world', " the quick  brown\n\nfox's don't 'S  ", 'x=12345;\r\n\tfor(int i=0;i<n;++i)',
    'cafe\u0301 \u1e9b\u0323 \ufb01 \u00bd \u2460 \uff21\uff22 \u212b \uac00\u11a8 \uff76\uff9e',
    '你好，世界。こんにちは カタカナ', 'привет, мир! \u0130I\u01c5 \ua7dc', '  leading and trailing \u3000 ',
    '👩‍👩‍👧 1️⃣ ½Ⅷ²', '...the-end?! (a_b) $5 %', '12-the--and---- -x-', 'a\u0000b\u180ec\u0085d',
]
QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
          r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
         r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
         r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
          r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s")
DEEPSEEK = [r'\p{N}{1,3}', '[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+',
            r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^"""
            '\r\n' r"""\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[""" '\r\n' r"""]*|\s*[""" '\r\n'
            r"""]+|\s+(?!\S)|\s+"""]
BLOOM = ' ?[^(\\s|[.,!?…。，、।۔،])]+'
KIMI = r'[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}&&[^\p{Han}]]+|\p{N}{1,3}|\s+|.'


def byte_level(add_prefix_space=False, use_regex=False):
    return {'type': 'ByteLevel', 'add_prefix_space': add_prefix_space, 'trim_offsets': True,
            'use_regex': use_regex}


def split(pattern, behavior='Isolated', invert=False, kind='Regex'):
    return {'type': 'Split', 'pattern': {kind: pattern}, 'behavior': behavior, 'invert': invert}


def sequence(*steps):
    return {'pre_tokenizer': {'type': 'Sequence', 'pretokenizers': list(steps)}}


def added(*tokens):
    """From ('content', 'flags'): s l r w n. write_small gives the ids."""
    return {'added_tokens': [
        {'id': None, 'content': content, 'single_word': 'w' in flags, 'lstrip': 'l' in flags,
         'rstrip': 'r' in flags, 'normalized': 'n' in flags, 'special': 's' in flags}
        for content, flags in tokens]}


def normalizer(*steps):
    return {'normalizer': steps[0] if len(steps) == 1
            else {'type': 'Sequence', 'normalizers': list(steps)}}


def small_tokenizers(base):
    """Yields (name, merge patch of the base, further texts)."""
    vocab, merges = base['model']['vocab'], base['model']['merges']
    yield 'qwen', {}, []
    for form in ('NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase'):
        yield form.lower(), normalizer({'type': form}), ['e\u0323\u0301\u0327 \u0345a\u0301\u0334 \u1100\u1161\u11a7\u11a8']
    yield 'strip', normalizer({'type': 'Strip', 'strip_left': True, 'strip_right': True}), ['  ', '\u2003x ']
    yield 'strip left', normalizer({'type': 'Strip', 'strip_left': True, 'strip_right': False}), []
    yield 'prepend', normalizer({'type': 'Prepend', 'prepend': 'the '}), []
    yield 'replace', normalizer({'type': 'Replace', 'pattern': {'String': '-'}, 'content': '+='},
                                {'type': 'Replace', 'pattern': {'Regex': r'\s+'}, 'content': ' '}), []
    yield 'normalizers', normalizer({'type': 'NFKC'}, {'type': 'Lowercase'},
                                    {'type': 'Strip', 'strip_left': False, 'strip_right': True}), []
    yield 'gpt2', {'pre_tokenizer': byte_level(False, True)}, []
    yield 'gpt2 prefix', {'pre_tokenizer': byte_level(True, True)}, ['the', '\nthe']
    yield 'prefix without regex', {'pre_tokenizer': byte_level(True, False)}, ['the']
    yield 'prefix after split', sequence(split(QWEN), byte_level(True)), ['the']
    for name, pattern in (('qwen35', QWEN35), ('o200k', O200K), ('cl100k', CL100K), ('bloom', BLOOM),
                          ('kimi', KIMI)):
        yield name, sequence(split(pattern), byte_level()), ['CamelCase HTTPServer\'s 1234567', 'क्षि ᄀ世a']
    yield 'deepseek', sequence(*map(split, DEEPSEEK), byte_level()), ['a1世界2345,b.c']
    for i, pattern in enumerate((
            r'\w+', r'\W', r'\b', r'[\w.]+', r'\h+', r'\d+|\D', r'[[:punct:]]+', r'[[:space:][:digit:]]',
            r'\p{Han}+', r'\p{^L}', r'\P{L}', r'\p{Cyrillic}+|\p{Hiragana}', r'(?:\p{L}){2,3}+', r'o{,2}',
            r'^.', r'.$', r'\Ah|e\z', r'(?<=e)l|(?<!e)o', r'(?>a|ab)b', r'(the|and)+', r'(?i)THE',
            r'x*', r'[^\S\n]+', r'[a-d[x-z]]', r'\u4f60|\x{597d}', r'l+?', r'[\]\-^]|[+\-*/]', r'e|\s|',
            r'\p{L}+(?=[.?!])', r'\S+?o', r'(?-i:T)|(?i:h)')):
        yield f'regex {i}', sequence(split(pattern), byte_level()), ['T the hoothe\u0301o\nabb aab']
    for behavior in ('Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'):
        for invert in (False, True):
            yield (f'split {behavior} {invert}', sequence(split('-', behavior, invert, 'String'),
                                                          byte_level()), ['-', '--a', 'a--'])
    yield 'digits', sequence({'type': 'Digits', 'individual_digits': False}, byte_level(False, True)), []
    yield 'single digits', sequence({'type': 'Digits', 'individual_digits': True}, byte_level(False, True)), []
    for name in ('Whitespace', 'WhitespaceSplit', 'BertPreTokenizer'):
        yield name.lower(), sequence({'type': name}, byte_level()), ['a\u200db\u00b2c \u203f_']
    yield 'delimiter', sequence({'type': 'CharDelimiterSplit', 'delimiter': 'e'}, byte_level()), []
    yield 'punctuation', sequence({'type': 'Punctuation', 'behavior': 'Contiguous'}, byte_level(),
                                  {'type': 'Digits', 'individual_digits': True},
                                  split('[0-9][0-9][0-9]')), ['\u2e52\u166d\u00a7$']
    yield 'nested sequences', {'pre_tokenizer': {'type': 'Sequence', 'pretokenizers': [
        {'type': 'Sequence', 'pretokenizers': [split(r'\s+')]}, byte_level()]}}, []
    yield 'split after byte level', sequence(byte_level(), split('\u0120', 'MergedWithNext', kind='String')), []
    yield 'merges as strings', {'model': {'merges': ['#version: 0.2'] + [' '.join(m) for m in merges]}}, []
    yield 'ignore_merges', {'model': {'ignore_merges': True, 'vocab': {'\u0120jumps': len(vocab)}}}, [' jumps', ' jumpsy']
    yield 'not ignore_merges', {'model': {'vocab': {'\u0120jumps': len(vocab)}}}, [' jumps']
    without = {'model': {'vocab': {'\u00c3': None, '\u00a9': None, '<unk>': 0},
                         'merges': [m for m in merges if '\u00c3' not in ''.join(m) and '\u00a9' not in ''.join(m)]}}
    for token in [t for t in vocab if len(t) > 1 and ('\u00c3' in t or '\u00a9' in t)]:
        without['model']['vocab'][token] = None
    yield 'unknown bytes dropped', without, ['é', 'xéàéy']
    for fuse in (False, True):
        yield (f'unk_token {fuse}', {'model': {**without['model'], 'unk_token': '<unk>', 'fuse_unk': fuse}},
               ['é', 'xéàéy', 'éé é'])
    tokens = ['<s> a<s>b <s>c', 'x <l> y <l>', '<l>  <r> <r>x  <l><r>', ' <r>\n\n z<r>\u3000\u200bq',
              'the<w>the', ' <w> <w>x x<w> \u00b2<w>\u0301 <w>', '<lr>  <lr> a \t<lr>\n', '<ab><a><abc', '<|user|>', '<b>the</b>']
    yield 'added', added(('<s>', 's'), ('<l>', 'l'), ('<r>', 'sr'), ('<w>', 'w'), ('<lr>', 'lr'), ('<a', ''),
                         ('<ab>', 's'), ('<a><abc', 's'), ('b>', '')), tokens
    yield 'added normalized', added(('<s>', 'sn'), ('<l>', 'ln'), ('<r>', 'rn'), ('<w>', 'wns'), ('<lr>', 'lrns'),
                                    ('<ab>', 's'), ('<a>', 'n'), ('é!', 'n')), tokens + ['é!e\u0301!é<s>']
    yield ('added and normalizers', {
        **normalizer({'type': 'NFKC'}, {'type': 'Lowercase'}),
        **added(('<S>', 'sn'), ('<Ab>', 's'), ('\uff21', 'n'), ('Lo', 'n'), ('\u00df\u2460', ''), ('Qq', 'ns'))},
        tokens + ['<S><s> <AB><Ab>', 'hello LO Lo', 'a\uff21A qQ \u00df\u2460'])
    yield 'added in vocabulary', added(('the', ''), ('\u0120the', 's')), ['the \u0120the x']
    yield 'added in byte alphabet', added(('\u00e9\u0120', ''), ('\u00ff\u00ff', 's')), ['a\u00e9\u0120\u00ff\u00ff']


def write_small(path):
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.NFC()
    trained.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN), 'isolated'), pre_tokenizers.ByteLevel(False, use_regex=False)])
    trained.decoder = decoders.ByteLevel()
    trained.train_from_iterator(TRAINING, trainers.BpeTrainer(
        vocab_size=420, min_frequency=2, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    base = json.loads(trained.to_str())
    base['normalizer'] = None

    def merge(target, patch):  # RFC 7396
        if not isinstance(patch, dict):
            return patch
        target = dict(target) if isinstance(target, dict) else {}
        for key, value in patch.items():
            if value is None:
                target.pop(key, None)
            else:
                target[key] = merge(target.get(key), value)
        return target

    result = {'base': base, 'texts': TEXTS, 'tokenizers': []}
    for name, patch, texts in small_tokenizers(base):
        next_id = len(base['model']['vocab'])
        for token in patch.get('added_tokens', []):
            token['id'] = base['model']['vocab'].get(token['content'], next_id)
            next_id += token['id'] == next_id
        if 'vocab' in patch.get('model', {}):  # ids stay without gaps
            names = merge(base['model']['vocab'], patch['model']['vocab'])
            order = {token: i for i, token in enumerate(names)}
            patch['model']['vocab'] = {**patch['model']['vocab'], **{
                token: i for token, i in order.items() if base['model']['vocab'].get(token) != i}}
        tokenizer = Tokenizer.from_str(json.dumps(merge(base, patch)))
        entry = {'name': name, 'patch': patch, 'texts': texts, 'ids': [], 'special': [], 'decoded': []}
        for text in TEXTS + texts:
            tokenizer.encode_special_tokens = True
            entry['ids'].append(tokenizer.encode(text, add_special_tokens=False).ids)
            tokenizer.encode_special_tokens = False
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            entry['special'].append(ids if ids != entry['ids'][-1] else None)
            decoded = tokenizer.decode(ids, skip_special_tokens=False)
            entry['decoded'].append(decoded if decoded != text else None)
        result['tokenizers'].append(entry)
    with open(path, 'w') as f:
        f.write('{"base": %s,\n"texts": %s,\n"tokenizers": [\n' % (json.dumps(base), json.dumps(TEXTS)))
        f.write(',\n'.join(json.dumps(t, separators=(',', ':')) for t in result['tokenizers']))
        f.write('\n]}\n')


if __name__ == '__main__':
    commands = {'tables': tables, 'corpus': write_corpus, 'small': write_small}
    commands[sys.argv[1]](*sys.argv[2:])
