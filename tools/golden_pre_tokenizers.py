#!/usr/bin/env python3
"""Writes tests/golden/tokenizers/pre_tokenizers.json: into which pieces each pre-tokenizer that GGUF files name
splits some texts, by the `tokenizers` library with the regular expressions of llama.cpp.

    python tools/golden_pre_tokenizers.py

The expressions are those of llama.cpp's src/llama-vocab.cpp, in its own spelling (or, where that is only near to
the models' own, in the one that it gives in a comment).
"""
import json
import os

from tokenizers import Regex, pre_tokenizers

S = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
END = r'|\s*[\r\n]+|\s+(?!\S)|\s+'
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
LLAMA3 = S + r'|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*' + END
QWEN2 = S + r'|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*' + END
QWEN35 = (S + r'|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*' + END)
UPPER, LOWER = r'[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]', r'[\p{Ll}\p{Lm}\p{Lo}\p{M}]'


def cased(end, digits):
    return (rf'[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{end}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{end}|{digits}'
            r'| ?[^\s\p{L}\p{N}]+[\r\n/]*' + END)


GPT4O = cased(S + '?', r'\p{N}{1,3}')
DEEPSEEK3 = [r'\p{N}{1,3}', '[一-龥\u3040-ゟ゠-ヿ]+',
             r'[!"#$%&' + r"'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^"
             '\r\n' r'\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[' '\r\n' r']*' + END]
SPARK = [*DEEPSEEK3[:2], r'[!"#$%&' + r"'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^"
         '\r\n' r'\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[' '\r\n' r']|\s+(?!\S)|\s+', r'\p{N}']
LETTERS = ('A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7d'
           'ᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆ'
           'ﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃')
HAN = '[一-龥\u0800-一가-\ud7ff]+'
POEM = ' ?[^(\\s|.,!?…。，、।۔،)]+'
KIMI = (r'[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*'
        r'[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+' + S + r'?|[^\r\n\p{L}\p{N}]?'
        r'[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*' + S +
        r'?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*' + END)
ASIA = ('[一-鿿㐀-䶿\uf900-\ufaff\u3040-ゟ゠-ヿ･-ﾟ⼀-\u2fdf\u0e40-\u0e7f\u0e80-\u0effក-\u17ffက-\u109fꩠ-\uaa7fꧠ-\ua9ff'
        '가-\ud7afᄀ-ᇿ]+')

EXPRESSIONS = {
    'default': [r'[\p{P}\$\+<=>\^~\|]+', GPT2, r'\p{N}+', '[0-9][0-9][0-9]'],
    'gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code roberta-bpe gigachat a.x-4.0 mellum '
    'modern-bert mpt olmo jais exaone4 trillion granite-docling': [GPT2],
    'starcoder refact command-r smollm codeshell exaone minerva-7b mellum2': [r'\p{N}', GPT2],
    'falcon': [r'[\p{P}\$\+<=>\^~\|`]+', GPT2, '[0-9][0-9][0-9]'],
    'llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano dbrx smaug-bpe chatglm-bpe '
    'glm4': [LLAMA3],
    'jais-2': [S + r'|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)'
               r'|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)'
               r'|\s{1,2}(?!\S)|\s{1}'],
    'qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2': [QWEN2],
    'qwen35': [QWEN35],
    'ufakzeka': [QWEN2.removeprefix(S + '|')],
    'laguna': [r'[^\n]+|[\n]+', QWEN2],
    'minicpm5': [r'\p{N}{1,3}', QWEN2.replace(r'\p{N}|', r'\p{N}+|')],
    'seed-coder': [S + r'|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+' + END],
    'bailingmoe bailingmoe2 llada-moe': [
        r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r'| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+'],
    'exaone-moe': [S + r'|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?'
                   r'|\s*[\r\n]|\s+(?!\S)|\s+'],
    'tekken': [cased('', r'\p{N}')],
    'gpt-4o llama4 kanana2 talkie minimax-m2 granite-embed-multi-97m': [GPT4O],
    'tiny_aya cohere2moe': [r'\d{1,3}(?=(?:\d{3})*\b)', GPT4O],
    'kimi-k2': [KIMI],
    'youtu': ['[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u3040-ゟ゠-ヿ]+', cased(S + '?', r'\p{N}')],
    'deepseek-llm': ['[\r\n]', r'\s?[' + LETTERS + ']+', r'\s?[!-/:-~！-／：-～‘-‟\u3000-。]+', r'\s+$', HAN, r'\p{N}+'],
    'deepseek-coder': ['[\r\n]', r'\s?\p{L}+', r'\s?\p{P}+', HAN, r'\p{N}'],
    'deepseek-v3 hunyuan-dense joyai-llm hy_v4': DEEPSEEK3,
    'spark2_5': SPARK,
    # For llama.cpp's own code: digits in threes from the right.
    'afmoe': [r'\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|\z))', ASIA, DEEPSEEK3[2]],
    'superbpe': [r'\p{N}+', r'(?=(\d{3})+(?!\d))'],
    'poro-chat bloom gpt3-finnish': [POEM],
    'viking': [POEM, r'\p{N}'],
    'chameleon': ['<sentinel:[0-9]+>', '(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z', r'([\t\n]|    |  )', r'\p{N}',
                  r'[\p{P}!-/:-@\[-`{-~]', GPT2],
}

TEXTS = [
    "Hello, World! It's 9:30; we'LL see they've DON'T 'S 's", '  three   spaces\n\n\nand\tlines \r\n\r\n  x \n',
    'for (int i=0; i<1234567; ++i) { a[i] += x->y_z / 2; }  // done\n', '12 345 6789 0123456789 ١٢٣٤٥ ½Ⅷ²',
    'CamelCase HTTPServer iPhone ÄÖÜäöü ǅ ßẞ ﬁ ʼn', '你好，世界！中文123测试。ひらがなカタカナ漢字 한국어 조선글',
    'Привет, мир! Γειά σου Κόσμε; Հայերեն ქართული Ꭰꭰ', 'क्षत्रिय नमस्ते। เราไม่รู้ ປະເທດ ភាសាខ្មែរ မြန်မာ',
    'مرحبا، كيف حالك؟ ۔ שלום', 'e\u0301 a\u0323\u0301 \u00e9\u0303', '👩‍👩‍👧 🏳️‍🌈 1️⃣ emoji🙂text',
    '$100+€20=¥3 <a href="x">`code`</a> ~|^ a|b (c) [d] {e} #f @g', 'a\u00a0b\u2003c\u3000d\u200be\u0085f\u2028g',
    '...!?! --- *** /// \\\\ \n/\n//\n', 'IMGIMGABCZ <sentinel:12> IMGIMGZ', 'under_score kebab-case file.name.txt a/b/c\n',
    'ＡＢＣ ａｂｃ １２３ ！？： “quoted” ‘it’ … — 、。', 'ㄅㄆㄇ ㄱㄴㄷ ﹏︰ 々 〇 豈 ⼀ ･ﾟ', '', ' ', '\n', '       seven', 'tail   ',
]


def pieces(expressions, text):
    steps = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(e), 'isolated') for e in expressions])
    return [piece for piece, _ in steps.pre_tokenize_str(text)]


def main():
    golden = {'texts': TEXTS, 'pre_tokenizers': [
        {'names': names.split(), 'pieces': [pieces(expressions, text) for text in TEXTS]}
        for names, expressions in EXPRESSIONS.items()]}
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with open(os.path.join(root, 'tests/golden/tokenizers/pre_tokenizers.json'), 'w') as f:
        json.dump(golden, f, ensure_ascii=True, separators=(',', ':'))
        f.write('\n')


if __name__ == '__main__':
    main()
