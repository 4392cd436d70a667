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

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers)

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


if __name__ == '__main__':
    {'tables': tables}[sys.argv[1]](*sys.argv[2:])
