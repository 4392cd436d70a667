#!/usr/bin/env python3
"""Writes src/text/jinja/unicode_tables.inc: what Python's str knows of characters beyond the
general category and the one-to-one case maps that utf8proc has.

Usage: python3 tools/jinja_unicode_tables.py > src/text/jinja/unicode_tables.inc
"""
import sys
import unicodedata


def ranges(predicate):
    out = []
    for c in range(sys.maxunicode + 1):
        if 0xD800 <= c < 0xE000 or not predicate(chr(c)):
            continue
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def print_ranges(name, comment, found):
    print(f"// {comment}")
    print(f"constexpr CharRange {name}[] = {{")
    line = "   "
    for low, high in found:
        item = f" {{0x{low:x}, 0x{high:x}}},"
        if len(line) + len(item) > 100:
            print(line)
            line = "   "
        line += item
    print(line)
    print("};\n")


def print_map(name, comment, found):
    print(f"// {comment}")
    print(f"constexpr FullCase {name}[] = {{")
    line = "   "
    for c, mapped in found:
        text = "".join(f"\\U{ord(x):08x}" if ord(x) > 0xFFFF else f"\\u{ord(x):04x}" if ord(x) > 0x7F else x for x in mapped)
        item = f' {{0x{c:x}, "{text}"}},'
        if len(line) + len(item) > 100:
            print(line)
            line = "   "
        line += item
    print(line)
    print("};\n")


def category(c):
    return unicodedata.category(c)


print(f"// Made by tools/jinja_unicode_tables.py from Unicode {unicodedata.unidata_version}.")
print("// clang-format off")
print_ranges("kOtherLower", "Lowercase without being Ll.", ranges(lambda c: c.islower() and category(c) != "Ll"))
print_ranges("kOtherUpper", "Uppercase without being Lu.", ranges(lambda c: c.isupper() and category(c) != "Lu"))
print_ranges("kOtherDigit", "Digits without being Nd.", ranges(lambda c: c.isdigit() and category(c) != "Nd"))
print_ranges("kOtherNumeric", "Numeric without being a number.",
             ranges(lambda c: c.isnumeric() and category(c)[0] != "N"))
everything = [c for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]
print_map("kFullUpper", "Upper case of more than one character.",
          [(c, chr(c).upper()) for c in everything if len(chr(c).upper()) > 1])
print_map("kFullTitle", "Title case of more than one character.",
          [(c, chr(c).title()) for c in everything if len(chr(c).title()) > 1])
