"""Small templates, one per feature of the language: (name, template), all rendered with VARS."""

VARS = {
    "s": "Hello World",
    "u": "straße ǆ İstanbul ΑΣ",
    "n": 42,
    "f": 2.5,
    "t": True,
    "z": None,
    "l": [3, 1, 2],
    "w": ["b", "A", "c"],
    "d": {"b": 1, "a": {"x": [1, 2]}, "items": 5},
    "users": [
        {"name": "Bob", "age": 30, "city": "Rome"},
        {"name": "alice", "age": 25, "city": "rome"},
        {"name": "Carl", "age": 35, "city": "Oslo"},
        {"name": "dora", "age": 25},
    ],
    "tree": [{"v": 1, "c": [{"v": 2, "c": []}, {"v": 3, "c": [{"v": 4, "c": []}]}]}],
    "html": "<b>\"x\" & 'y'</b>",
    "m": "a\nb\r\n\n  c\u2028d",
}

# Whole templates: white space and statements.
TEMPLATES = {
    "empty": "",
    "text": "plain text\n",
    "text_two_newlines": "plain\n\n",
    "crlf": "a\r\nb\rc\r\n",
    "trim_blocks": "{% if true %}\nyes\n{% endif %}\nend",
    "lstrip_blocks": "  {% if true %}\n  yes\n  {% endif %}\nend",
    "lstrip_not_after_text": "x  {% if true %}y{% endif %}",
    "lstrip_variable_stays": "  {{ n }}\n  {{ n }}",
    "keep_plus": "  {%+ if true %}a{% endif +%}\nb",
    "strip_minus": "a \n {%- if true -%} \n b \n {%- endif -%} \n c",
    "strip_variable": "a \n {{- n -}} \n c",
    "plus_variable": "a \n {{+ n }} \n c",
    "strip_unicode_space": "a\u00a0\u2003{{- n -}}\u3000b",
    "comment": "a{# x {{ y }} #}b",
    "comment_trim": "a\n  {# x #}\nb",
    "comment_strip": "a \n{#- x -#}\n b",
    "comment_plus": "a\n  {#+ x +#}\nb",
    "raw": "{% raw %}{{ n }} {% if %}{% endraw %}!",
    "raw_strip": "a {%- raw -%}  {{ x }}  {%- endraw -%} b",
    "raw_lines": "  {% raw %}\n  {{ x }}\n  {% endraw %}\nb",
    "raw_plus": "  {%+ raw %} x {%+ endraw +%}\nb",
    "braces": "{ { } } {x} %} }} #}",
    "nested_braces": "{{ {'a': {'b': 1}} }}|{{ {'a': {}}['a'] }}",
    "if_elif": "{% for i in range(4) %}{% if i == 0 %}a{% elif i == 1 %}b{% elif i == 2 %}c{% else %}d{% endif %}{% endfor %}",
    "if_tuple": "{% if 0, %}y{% endif %}",
    "if_colon": "{% if n: %}y{% endif %}",
    "for": "{% for x in l %}{{ x }},{% endfor %}",
    "for_else": "{% for x in [] %}{{ x }}{% else %}none{% endfor %}",
    "for_else_unused": "{% for x in l %}{{ x }}{% else %}none{% endfor %}",
    "for_else_continue": "{% for x in l %}{% continue %}{% else %}none{% endfor %}",
    "for_else_break": "{% for x in l %}{% break %}{% else %}none{% endfor %}",
    "for_if": "{% for x in l if x > 1 %}{{ x }}{{ loop.index }}{{ loop.length }}{{ loop.last }} {% endfor %}",
    "for_if_else": "{% for x in l if x > 9 %}{{ x }}{% else %}none{% endfor %}",
    "for_unpack": "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "for_unpack_nested": "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "for_unpack_wrong": "{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}",
    "for_dict": "{% for k in d %}{{ k }};{% endfor %}",
    "for_string": "{% for c in 'añ😀' %}[{{ c }}]{% endfor %}",
    "for_undefined": "{% for x in nothing %}x{% else %}empty{% endfor %}",
    "for_none": "{% for x in z %}x{% endfor %}",
    "for_number": "{% for x in n %}x{% endfor %}",
    "for_scope": "{% set x = 1 %}{% for i in l %}{{ x }}{% set x = i %}{{ x }} {% endfor %}{{ x }}",
    "for_shadow": "{% set i = 9 %}{% for i in l %}{{ i }}{% endfor %}{{ i }}",
    "for_same_name": "{% for l in l %}{{ l }}{% endfor %}{{ l }}",
    "for_recursive": "{% for x in tree recursive %}{{ x.v }}@{{ loop.depth }}/{{ loop.depth0 }}({{ loop(x.c) }}){% endfor %}",
    "for_call_not_recursive": "{% for x in tree %}{{ loop(x.c) }}{% endfor %}",
    "loop_variables": "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}",
    "loop_items": "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}",
    "loop_previtem_defined": "{% for x in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}",
    "loop_cycle": "{% for x in l %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "loop_changed": "{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }} {% endfor %}",
    "loop_nested": "{% for x in l %}{% for y in w %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}",
    "loop_outer": "{% for x in l %}{% set outer = loop %}{% for y in w %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}",
    "loop_after": "{% for x in l %}{% endfor %}{{ loop is defined }}",
    "loop_print": "{% for x in l %}{{ loop }}{% endfor %}",
    "loop_generator_length": "{% for x in l|select('gt', 1) %}{{ x }}/{{ loop.length }}{{ loop.revindex }} {% endfor %}",
    "loop_over_loop": "{% for x in l %}{% for y in loop %}{{ y[0] }}{% endfor %}|{% endfor %}",
    "loop_assign": "{% for x in l %}{% set loop = 1 %}{% endfor %}",
    "loop_target": "{% for loop in l %}{% endfor %}",
    "break": "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "continue": "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "break_outside": "{% break %}",
    "break_in_macro": "{% for x in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "break_in_set_block": "{% for x in l %}{% set y %}{{ x }}{% break %}{% endset %}{% endfor %}{{ y }}",
    "break_inner": "{% for x in l %}{% for y in l %}{% break %}{% endfor %}{{ x }}{% endfor %}",
    "set": "{% set x = 1 %}{{ x }}",
    "set_tuple": "{% set a, b = 1, 2 %}{{ b }}{{ a }}",
    "set_paren_tuple": "{% set (a, b) = (1, 2) %}{{ b }}{{ a }}",
    "set_one_tuple": "{% set x = 1, %}{{ x }}",
    "set_string_unpack": "{% set a, b = 'xy' %}{{ b }}{{ a }}",
    "set_if": "{% if true %}{% set x = 1 %}{% endif %}{{ x }}",
    "set_block": "{% set x %}a{{ n }}b{% endset %}[{{ x }}]",
    "set_block_filter": "{% set x | upper | trim %} a{{ n }}b {% endset %}[{{ x }}]",
    "set_block_scope": "{% set y = 1 %}{% set x %}{% set y = 2 %}{{ y }}{% endset %}{{ x }}{{ y }}",
    "set_attribute": "{% set d.x = 1 %}",
    "set_constant": "{% set true = 1 %}",
    "set_expression": "{% set 1 = 2 %}",
    "namespace": "{% set ns = namespace(a=1) %}{% for x in l %}{% set ns.a = ns.a + x %}{% endfor %}{{ ns.a }}",
    "namespace_new": "{% set ns = namespace() %}{% set ns.x = 'y' %}{{ ns.x }}{{ ns['x'] }}{{ ns.nope }}|{{ ns }}",
    "namespace_dict": "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}",
    "namespace_tuple": "{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a }}{{ ns.b }}",
    "namespace_block": "{% set ns = namespace() %}{% set ns.a %}x{% endset %}{{ ns.a }}",
    "namespace_underscore": "{% set ns = namespace(_a=1) %}",
    "namespace_set_underscore": "{% set ns = namespace() %}{% set ns._a = 1 %}",
    "namespace_items": "{% set ns = namespace(a=1) %}{{ ns.items() }}",
    "namespace_iterate": "{% for x in namespace(a=1) %}{% endfor %}",
    "namespace_length": "{{ namespace(a=1)|length }}",
    "macro": "{% macro m(a, b=2, c='x') %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, c=3) }}{{ m(b=5, a=6) }}",
    "macro_missing": "{% macro m(a) %}[{{ a }}{{ a is defined }}]{% endmacro %}{{ m() }}",
    "macro_default_earlier": "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, 2) }}",
    "macro_default_outer": "{% set x = 5 %}{% macro m(a=x) %}{{ a }}{% endmacro %}{{ m() }}",
    "macro_too_many": "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
    "macro_unknown": "{% macro m(a) %}{% endmacro %}{{ m(q=2) }}",
    "macro_varargs": "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}",
    "macro_varargs_empty": "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m() }}",
    "macro_attributes": "{% macro m(a, b=1) %}{{ caller() }}{% endmacro %}{{ m.name }}{{ m.arguments }}{{ m.catch_kwargs }}{{ m.catch_varargs }}{{ m.caller }}",
    "macro_scope": "{% set x = 1 %}{% macro m() %}{{ x }}{% set x = 2 %}{{ x }}{% endmacro %}{{ m() }}{{ x }}",
    "macro_late": "{% macro m() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}{% set x = 2 %}{{ m() }}",
    "macro_no_loop_scope": "{% macro m() %}[{{ x }}]{% endmacro %}{% for x in l %}{{ m() }}{% endfor %}",
    "macro_in_loop": "{% for x in l %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}",
    "macro_recursive": "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "macro_is_string": "{% macro m() %} x {% endmacro %}{{ m() is string }}{{ m()|trim }}{{ m()|length }}",
    "macro_star": "{% macro m(a, b, c) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(*l) }}{{ m(1, **{'b': 2, 'c': 3}) }}",
    "macro_undefined": "{{ nothing() }}",
    "macro_print": "{% macro m() %}{% endmacro %}{{ m }}",
    "macro_before_definition": "{{ m() }}{% macro m() %}x{% endmacro %}",
    "macro_nested": "{% macro a() %}{% macro b() %}b{% endmacro %}{{ b() }}{% endmacro %}{{ a() }}{{ b is defined }}",
    "call": "{% macro m(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call m('p') %}in {{ n }}{% endcall %}",
    "call_arguments": "{% macro m() %}{% for x in l %}{{ caller(x, 'q') }}{% endfor %}{% endmacro %}{% call(a, b) m() %}[{{ a }}{{ b }}]{% endcall %}",
    "call_no_caller": "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
    "call_caller_defined": "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}{% call m() %}{% endcall %}",
    "call_unused": "{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}",
    "call_not_call": "{% call n %}{% endcall %}",
    "filter_block": "{% filter upper %}abc {{ s }}{% endfilter %}",
    "filter_block_chain": "{% filter trim | replace('a', 'b') %} aaa {% endfilter %}",
    "with": "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "with_outer": "{% set a = 5 %}{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}",
    "with_empty": "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}",
    "generation": "a{% generation %}b{{ n }}{% set q = 1 %}{% endgeneration %}c{{ q }}",
    "generation_lines": "a\n  {% generation %}\n  b\n  {% endgeneration %}\nc",
    "block": "{% block x %}in {{ n }}{% endblock %}",
    "block_name": "{% block x %}in{% endblock x %}",
    "block_twice": "{% block x %}{% endblock %}{% block x %}{% endblock %}",
    "block_sees_set": "{% set q = 1 %}{% block x %}{{ q }}{% endblock %}",
    "print": "{% print n, s %}",
    "include": "{% include 'x' %}",
    "include_unused": "{% if false %}{% include 'x' %}{% endif %}ok",
    "extends": "{% extends 'x' %}",
    "unknown_tag": "{% nope %}",
    "do_tag": "{% do l %}",
    "unclosed_if": "{% if n %}",
    "unclosed_tag": "{{ n ",
    "unclosed_comment": "{# n ",
    "unclosed_raw": "{% raw %} x",
    "wrong_end": "{% if n %}{% endfor %}",
    "stray_end": "{% endif %}",
    "empty_expression": "{{ }}",
    "unbalanced": "{{ (1 }}",
    "bad_char": "{{ 1 ? 2 }}",
    "unknown_filter": "{{ n|nope }}",
    "unknown_filter_in_if": "{% if false %}{{ n|nope }}{% endif %}ok",
    "unknown_filter_in_if_run": "{% if true %}{{ n|nope }}{% endif %}ok",
    "unknown_filter_in_for_in_if": "{% if false %}{% for x in l %}{{ n|nope }}{% endfor %}{% endif %}ok",
    "unknown_filter_conditional": "{{ n if true else n|nope }}",
    "unknown_test": "{{ n is nope }}",
    "unknown_test_in_if": "{% if false %}{{ n is nope }}{% endif %}ok",
    "raise_exception": "{{ raise_exception('no') }}",
    "raise_exception_unused": "{% if false %}{{ raise_exception('no') }}{% endif %}ok",
    "strftime_now": "{{ strftime_now('%Y-%m-%d %H:%M:%S %d %b %B %a %A %j %p %I %%') }}",
    "strftime_now_defined": "{{ strftime_now is defined }}{{ strftime_now is callable }}",
    "cycler": "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.next() }}",
    "joiner": "{% set j = joiner('|') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}",
    "generator_once": "{% set g = l|select('gt', 1) %}{{ g|list }}{{ g|list }}",
    "generator_loop_twice": "{% set g = users|selectattr('age', 'eq', 25) %}{% for x in g %}{{ x.name }}{% endfor %}|{% for x in g %}{{ x.name }}{% endfor %}",
    "generator_truth": "{{ 'y' if l|select('gt', 9) else 'n' }}",
    "generator_length": "{{ l|select|length }}",
    "generator_index": "[{{ (l|select)[0] }}]",
    "generator_lazy_error": "{% set g = l|map('nope') %}ok",
    "generator_last": "{{ l|select|last }}",
    "globals_shadowed": "{% set range = 5 %}{{ range }}",
    "deep_macro_recursion": "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "range_too_big": "{{ range(100001)|length }}",
    "line_statement_off": "# for x in l\n## c",
}

# Expressions, each rendered as {{ expression }}.
EXPRESSIONS = """
1 + 2 * 3 - 4
(1 + 2) * 3
7 / 2
6 / 2
7 // 2
-7 // 2
7 % 3
-7 % 3
7 % -3
7.5 % 2
-7.5 // 2
2 ** 10
2 ** 3 ** 2
2 ** -1
-2 ** 2
- 2
+n
-f
--1
1 / 0
1 // 0
1 % 0
1.0 / 0
1_000 + 0x1F + 0b101 + 0o17
1.5e3
1e-7
1E5
123456789012345678901234567890
0.1 + 0.2
1e16
1e15
123456789.123
1e22
1.0
-0.0
5e-324
1e308 * 10
1.7976931348623157e308
100000000000000000.0
0.0001
0.00001
3.14 * 2
10 ** 20
n + f
n * 'ab'
'ab' * 3
[1, 2] * 2
(1,) * 3
'a' * -1
'a' + 'b'
'a' 'b' "c"
'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1, 'x']
'a' + 1
1 + 'a'
[1] + [2]
(1,) + (2,)
[1] + (2,)
none + 1
nothing + 1
nothing ~ 'x'
true + true
true
True
none
None
false
()
(1,)
(1, 2)
(1)
[]
[1, 'two', 3.0, none, true, [4], (5,), {'k': 'v'}]
{}
{'a': 1, 'b': [2], 3: 'c', none: 0}
{'a': 1, 'a': 2}
{1: 'a', 1.0: 'b', true: 'c'}
{[1]: 2}
"it's"
['it\\'s', "say \\"hi\\"", 'both \\' and "']
['tab\\t nl\\n back\\\\ nul\\x00 \\x7f é \\u00a0 \\u200b 😀 \\U0001F600']
'\\x41\\u00e9\\101\\q\\é'
'a\\
b'
'\\x4'
1 == 1.0
1 == true
'1' == 1
[1, 2] == [1, 2]
[1, 2] == (1, 2)
{'a': 1, 'b': 2} == {'b': 2, 'a': 1}
none == false
nothing == nope
nothing == none
1 < 2 < 3
1 < 3 < 2
1 != 2
'a' < 'b'
'B' < 'a'
[1, 2] < [1, 3]
(1,) < (1, 2)
1 < 'a'
none < 1
nothing < 1
2 >= 2
2 <= 1
1 in [1, 2]
'a' in 'cat'
'x' not in 'cat'
'b' in d
1 in 'a1'
1 in d
1 in 5
[1] in d
'' in 'abc'
nothing in l
'a' in nothing
none in [none]
not true
not not n
not 1 == 2
1 and 2
0 and 2
0 or 'x'
'' or none
n and s
nothing or 'default'
1 if true else 2
1 if false
(1 if false) is defined
1 if false else 2 if false else 3
'a' if n else 'b' ~ 'c'
n is defined and n > 3
n is number or nope
n is not defined
d.b
d['b']
d.a.x
d.a.x[0]
d.a.x.1
d.a['x'][-1]
d.a.x[5]
d.nope
d.nope.more
d['nope'] is defined
nothing.x
nothing['x']
nothing[1:]
none.x
n.x
n.x.y
s.x
s['x']
s[0]
s[-1]
s[100]
s[true]
s['upper']()
d.items is defined
d.items()
d['items']
d.keys()
d.values()
d.items()|list
d.keys()[0]
d.get('b')
d.get('nope')
d.get('nope', 5)
d.get()
d.get(1, 2, 3)
d.update is defined
d.update({'a': 1})
d.pop('b')
d.clear()
d.copy()
d.setdefault('x', 1)
l.append(4)
l.append is defined
l.pop()
l.sort()
l.reverse()
l.index(2)
l.index(9)
l.count(1)
l.copy()
l.x
l.0
l[1.0]
l['0']
l[none]
(1, 2).count(1)
s.__class__
s.__class__ is defined
s.__class__.__mro__
s._x
d.__len__
'a'.__len__()
s[1:]
s[:5]
s[-5:]
s[:-1]
s[::2]
s[::-1]
s[8:2:-2]
s[100:]
s[-100:3]
s[::0]
s['a':]
l[1:]
l[::-1]
l[:2]
l[-1:]
l[5:]
(1, 2, 3)[1:]
range(10)[2:8:2]
range(10)[2:8:2]|list
range(3)
range(1, 10, 3)|list
range(5, 0, -2)|list
range(0)|list
range(3)[1]
range(3)[-1]
range(3)|length
range('a')
range(1, 2, 0)
range(3) == range(0, 3)
2 in range(3)
n[0]
n[1:]
u[0:3]
u|length
u|upper
u|lower
u|title
u|capitalize
u.title()
u.casefold()
u.swapcase()
'ŉ ﬁ ὖ'|upper
'ΑΣ ΑΣΑ Σ'|lower
"hello wOrld it's o'neil-x (abc"|title
"hello wOrld it's o'neil-x 3abc".title()
'HELLO'|capitalize
''|capitalize
'  x '|trim
'xxaxx'|trim('x')
'\\u00a0\\u2003x\\u3000'|trim
5|trim
' x '.strip() ~ '|'
'xyx'.strip('yx')
'xyabyx'.lstrip('xy')
'xyabyx'.rstrip('xy')
' x '.lstrip() ~ '|'
' x '.rstrip() ~ '|'
'a,b,c'.split(',')
'a,b,c'.split(',', 1)
'a,b,c'.rsplit(',', 1)
' a  b c '.split()
' a  b c '.split(none, 1)
' a  b c '.rsplit(none, 1)
'a b'.split(' ', -1)
''.split()
''.split(',')
'a'.split('')
'a--b'.split(sep='--', maxsplit=1)
'</think>a</think>b'.split('</think>')[-1]
'a.b.c'.partition('.')
'a.b.c'.rpartition('.')
'abc'.partition('x')
'abc'.rpartition('x')
m.splitlines()
m.splitlines(true)
'abcabc'.replace('b', 'X')
'abcabc'.replace('b', 'X', 1)
'abc'.replace('', '-')
'abc'.replace('', '-', 2)
'abc'.replace('b', old='x')
'abcabc'|replace('b', 'X')
'abcabc'|replace('b', 'X', 1)
123|replace(2, 'x')
'abc'.find('c')
'añc'.find('c')
'abcabc'.rfind('b')
'abc'.find('x')
'abcabc'.find('b', 2)
'abcabc'.find('b', -2, 10)
'abc'.index('x')
'abcabc'.count('b')
'aaa'.count('aa')
'abc'.count('')
'abc'.startswith('ab')
'abc'.startswith(('x', 'a'))
'abc'.startswith('b', 1)
'abc'.endswith('bc')
'abc'.endswith(('x', 'c'))
'abc'.startswith(1)
'abc'.startswith(['a'])
'-'.join(['a', 'b'])
'-'.join([1])
'-'.join('abc')
'-'.join(d)
'12'.isdigit()
'1.2'.isdigit()
'²'.isdigit()
'²'.isdecimal()
'½'.isnumeric()
'ab1'.isalnum()
'ab'.isalpha()
''.isalpha()
' \\t'.isspace()
'aB'.islower()
'ab1'.islower()
'AB1'.isupper()
'Ab Cd'.istitle()
'ab'.isascii()
'a_1'.isidentifier()
'a b'.isprintable()
'ab'.ljust(5, '.') ~ 'ab'.rjust(5) ~ 'ab'.center(5, '*') ~ 'abc'.center(6, '*')
'-5'.zfill(4)
'a\\tb'.expandtabs(4)
'prefix'.removeprefix('pre') ~ 'suffix'.removesuffix('fix')
'abc'.upper() ~ 'ABC'.lower()
'abc'.nope()
'{} {}'.format(1, 'x')
'{0} {1} {0}'.format('a', 'b')
'{x} {y.b} {y[a][x][0]}'.format(x=1, y=d)
'{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd')
'{:05d} {:+d} {:,} {:x} {:#X} {:b} {:o} {:c}'.format(42, 5, 1234567, 255, 255, 5, 8, 65)
'{:.2f} {:8.3f} {:e} {:g} {:%} {:.0f} {:,.2f}'.format(3.14159, 2.5, 12345.678, 0.0001, 0.25, 2.5, 12345.678)
'{!r} {!s} {!a}'.format('é', 'é', 'é')
'{:.3}'.format('abcdef')
'{:{w}}|'.format('a', w=5)
'{{}} {{{}}}'.format(1)
'{}'.format()
'{x}'.format()
'{0} {}'.format(1, 2)
'{'.format(1)
'}'.format(1)
'{:d}'.format('x')
'{:>5}'.format(none)
'{}'.format(none)
'{:5}|{:5}|{:5}|'.format(1, 'a', true)
'{:.3}'.format(3.0) ~ '{:.2}'.format(1234.5) ~ '{}'.format(1e16)
'{a.nope}'.format(a=d)
'{x}'.format_map({'x': 1})
'%s %d %r' % ('a', 5, 'b')
'%s' % 'x'
'%s' % none
'%s' % [1, 2]
'%s' % nothing
'%d' % 3.7
'%d' % 'x'
'%5d|%-5d|%05d|%+d|% d' % (1, 2, 3, 4, 5)
'%x %X %o %#x' % (255, 255, 8, 255)
'%.2f %e %g %G %10.3f|' % (3.14159, 12345.678, 0.00001, 1e20, 2.5)
'%s %s' % ('a',)
'%s' % ('a', 'b')
'abc' % [1]
'abc' % 1
'%(a)s %(b)d' % {'a': 'x', 'b': 2}
'%(a)s' % {}
'%%' % ()
'%5s|%-5s|%.2s' % ('ab', 'ab', 'abc')
'%c%c' % ('a', 98)
'%*d' % (5, 3)
'%q' % 1
'%' % 1
'%s-%s'|format(1, 2)
'%(x)s'|format(x=5)
5 % 'a'
n|string is string
n|abs
-5|abs
(-5)|abs
(-2.5)|abs
'x'|abs
2.5|round
3.5|round
-2.5|round
2.675|round(2)
2.5|round(method='ceil')
2.5|round(0, 'floor')
2.34|round(1, 'ceil')
42|round
1234|round(-2)
1250|round(-2)
1234.5|round(-2)
2.5|round(method='x')
2.5|round|int
'x'|round
'42'|int
' 42 '|int
'4_2'|int
'42.7'|int
'x'|int
'x'|int(5)
'0x1F'|int(base=16)
'1F'|int(0, 16)
'0b11'|int(0, 2)
'077'|int(0, 8)
'٣'|int
none|int
2.9|int
-2.9|int
true|int
[]|int
nothing|int
'1e3'|int
'inf'|int
'3.5'|float
'x'|float
'x'|float(1.5)
' 1_0.5 '|float
'nan'|float
'-inf'|float
5|float
none|float
nothing|float
l|length
d|length
'añ😀'|length
n|length
none|length
nothing|length
l|count
l|first
l|last
[]|first
[]|last
''|first
s|first
s|last
d|first
d|last
d.items()|first
nothing|first
l|join
l|join(', ')
l|join(1)
users|join(', ', attribute='name')
'abc'|join('-')
nothing|join
n|join
[1, none, true, 'x']|join('|')
l|sort
l|sort(reverse=true)
w|sort
w|sort(case_sensitive=true)
users|sort(attribute='age')|map(attribute='name')|list
users|sort(attribute='age,name', reverse=true)|map(attribute='name')|list
[1, 'a']|sort
[[2, 1], [1, 2]]|sort
d|sort
'bca'|sort
l|reverse|list
s|reverse
range(3)|reverse|list
d|reverse|list
n|reverse
l|list
'abc'|list
d|list
n|list
none|list
nothing|list
l|max
l|min
w|max
w|min
w|min(case_sensitive=true)
users|max(attribute='age')
[]|max
[]|max is defined
l|sum
users|sum(attribute='age')
users|sum('age', 100)
[0.5, 1]|sum
['a']|sum
[]|sum
[[1], [2]]|sum(start=[])
[1, 2, 1, 3, 2]|unique|list
['a', 'A', 'b']|unique|list
['a', 'A', 'b']|unique(true)|list
users|unique(attribute='age')|map(attribute='name')|list
users|map(attribute='name')|list
users|map(attribute='city')|list
users|map(attribute='city', default='?')|list
users|map(attribute='nope.x')|list
w|map('upper')|list
w|map('replace', 'b', 'x')|list
l|map('string')|join
l|map('nope')|list
l|map|list
l|map(foo=1)|list
nothing|map('upper')|list
l|select('odd')|list
l|select('gt', 1)|list
[0, 1, '', 'a', none]|select|list
[0, 1, '', 'a', none]|reject|list
l|reject('eq', 1)|list
l|select('nope')|list
users|selectattr('city')|map(attribute='name')|list
users|selectattr('age', 'ge', 30)|map(attribute='name')|list
users|selectattr('city', 'undefined')|map(attribute='name')|list
users|rejectattr('city', 'defined')|map(attribute='name')|list
users|rejectattr('age', 'in', [25, 30])|map(attribute='name')|list
l|batch(2)|list
l|batch(2, 'x')|list
l|slice(2)|list
l|slice(2, 'x')|list
[1, 2, 3, 4, 5, 6, 7]|slice(3)|list
users|groupby('city')|list
users|groupby('city', default='none')|map(attribute='grouper')|list
users|groupby('age')|map('first')|list
(users|groupby('age'))[0].list|length
users|groupby('city', default='', case_sensitive=true)|map('first')|list
d|dictsort
d|items|list
nothing|items|list
n|items|list
{'b': 1, 'A': 2}|dictsort
{'b': 1, 'A': 2}|dictsort(true)
{'b': 1, 'A': 2}|dictsort(by='value')
{'b': 1, 'A': 2}|dictsort(reverse=true)
{'b': 1, 2: 2}|dictsort
nothing|dictsort
l|dictsort
nothing|default('x')
''|default('x')
''|default('x', true)
none|default('x')
none|d('x', boolean=true)
nothing|default
d.nope|default(l)
d|attr('b')
d|attr('b') is defined
d|attr('items') is callable
5|attr('real')
s|upper
s|lower
n|upper
none|upper
nothing|upper
s|wordcount
"it's a-b c_d"|wordcount
s|center(15) ~ '|'
s|truncate(5)
s|truncate(5, true)
s|truncate(8, false, '..', 0)
s|truncate(8, true, '..', 0)
'long text with words here'|truncate(12, leeway=0)
m|indent
m|indent(2, true)
m|indent(2, true, true)
m|indent('> ')
'a\\n'|indent
''|indent(first=true)
n|indent
nothing|indent
html|escape
html|e
html|safe
html|e|e
html|forceescape
(html|safe)|e
'<' + (html|safe)
(html|safe) + '<'
'<' ~ (html|safe)
(html|safe) * 2
(html|safe)|upper + '<'
(html|safe).replace('b', '<')
['<', '>'|safe]|join('&'|safe)
('%s'|safe) % '<'
('{}'|safe).format('<')
('{}'|safe).format('<'|safe)
('-'|safe).join(['<', '>'|safe])
[html|safe]
html|safe|string + '<'
html|safe|trim + '<'
html|safe|length
html|safe is string
html|safe is escaped
html|striptags
'a b/c?d=é&f'|urlencode
{'a b': 'c&d', 'e': 1}|urlencode
[('x', 'y z')]|urlencode
n|urlencode
n|filesizeformat
123456789|filesizeformat
1|filesizeformat
123456789|filesizeformat(true)
s|pprint
s|nope(1)
d|tojson
l|tojson
[1, 1.0, 1e100, 'é"\\\\\\n\\x01\\x7f/', true, false, none, [], {}, (1, 2)]|tojson
d|tojson(indent=2)
[]|tojson(indent=2)
[{}, [1, []], {'a': []}]|tojson(indent=2)
d|tojson(indent='--')
d|tojson(indent=0)
d|tojson(separators=(',', ':'))
d|tojson(separators=(',', ':'), indent=1)
d|tojson(sort_keys=true)
u|tojson
'é😀\\x7f'|tojson(ensure_ascii=true)
'<&>\\''|tojson
{1: 'a', none: 'b', true: 'c', 1.5: 'd'}|tojson
{(1, 2): 3}|tojson
nothing|tojson
d.nope|tojson
d.items()|tojson
range(3)|tojson
namespace()|tojson
(html|safe)|tojson
users|tojson
{1: 'a', 'b': 2}|tojson(sort_keys=true)
d|tojson(2)
d|tojson(nope=1)
n is defined
nothing is defined
nothing is undefined
z is none
n is none
s is string
n is string
n is number
f is number
t is number
s is number
n is integer
t is integer
f is integer
f is float
n is float
t is boolean
n is boolean
t is true
1 is true
false is false
0 is false
d is mapping
l is mapping
l is sequence
s is sequence
d is sequence
n is sequence
d.keys() is sequence
range(3) is sequence
nothing is sequence
l is iterable
s is iterable
n is iterable
nothing is iterable
(l|select) is iterable
n is odd
n is even
n is divisibleby 7
n is divisibleby(5)
s is odd
'abc' is lower
'ABC' is upper
'aB' is lower
n is lower
n is eq 42
n is equalto 42
n is == 42
n is ne 42
n is gt 41
n is lt(3)
n is ge 42
n is le 42
n is greaterthan 2
n is lessthan 2
1 is in l
'x' is in s
1 is not in l
n is sameas n
none is sameas none
1 is sameas true
s.upper is callable
n is callable
range is callable
nothing is callable
'upper' is filter
'nope' is filter
'odd' is test
'nope' is test
n is defined is string
n is not none and s is string
not n is none
n is number == true
dict(a=1, b=2)
dict([('a', 1)], b=2)
dict({'a': 1}, a=3)
dict(1)
dict.fromkeys is defined
dict.fromkeys('ab')
dict.fromkeys([1, 2], 'x')
'{:c}'.format(65) ~ '{:c}'.format(-1)
'ΑΒΣ ΑΣ'|title
caller is defined
varargs
(s, n)
s, n
l, 
1 if n
'x' 'y'|upper
'a'|upper ~ 'b'
1 + 2|string
-1|abs
l|first + 1
s|length > 5
s.split()|map('length')|list
(l)[0]
{'a': 1}.a
[1, 2][0]
'abc'[1]
'a' 'b'[0]
(1, 2)[0]
foo.bar if foo is defined and foo.bar is defined else 'none'
n(1)
s()
l.0.real
f.is_integer()
n.bit_length()
{'x': s}|tojson ~ '!'
range(3)|map('string')|join(',')
loop is defined
users[0]['name'][::-1]
users|map(attribute='name')|map('lower')|sort|join(',')
d.a.x|sum + 1
[l, l] == [l, l]
l == [3, 1, 2]
'%s' % (l,)
'a' < 'b' == true
(1, 'a') in [(1, 'a')]
d == {'b': 1, 'a': {'x': [1, 2]}, 'items': 5}
1 == 1 == 1
[[1, 2], [3]]|map('sum')|list
[[1, 2], [3]]|sum(start=[])
[3, none]|sort
[true, 2, false]|sort
'ab'|map('upper')|list
nothing is none
[nothing, 1]
{'a': nothing}
(nothing,)
[none, true, 1.5, 'x', [], (), {}]
s.format(1)
'\\n\\t\\\\'
'a' is eq 'a' and 'b'
*l
f(a=1, a=2)
range(**{'a': 1})
range(*[3])
range(1, *[3])
d.get(**{'key': 'b'})
s|replace(**{'old': 'o', 'new': '0'})
'x'|default(value=1)
n|default(1, 2, 3)
1 +
(1, 2
1 2
n.
n|
n is
not
""".strip("\n").split("\n")


def expressions():
    lines = iter(EXPRESSIONS)
    for line in lines:
        text = line
        if text.endswith("\\") and not text.endswith("\\\\"):
            text += "\n" + next(lines)
        yield text


FEATURES = list(TEMPLATES.items()) + [(text, "{{ " + text + " }}") for text in expressions()]
