// What a template refuses, with which message, and that hostile templates end.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "text/chat_template.h"

namespace flashmoe::text {
namespace {

Error error_of(const std::string& source, const nlohmann::ordered_json& variables = {{"x", 1}},
               uint64_t work = uint64_t{1} << 24) {
  try {
    RenderOptions options;
    options.limits.work = work;
    const std::string out = ChatTemplate::parse(source, "t.jinja").render(variables, options).text;
    ADD_FAILURE() << "no error: " << source.substr(0, 200) << " -> " << out.substr(0, 200);
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::kIo, "");
}

TEST(JinjaErrors, SyntaxErrorsNameTheLine) {
  const Error error = error_of("a\nb {% if x %}\n{{ x + }}\n{% endif %}");
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_STREQ(error.what(), "t.jinja: line 3: unexpected '}}'");
  EXPECT_STREQ(error_of("{% if x %}\n").what(),
               "t.jinja: line 1: the template ends inside of 'if': expected 'elif' or 'else' or "
               "'endif'");
  EXPECT_STREQ(error_of("\n{{ x|nope }}").what(), "t.jinja: line 2: no filter named 'nope'");
  EXPECT_EQ(error_of("{{ '\xff' }}").code(), ErrorCode::kCorrupt);
}

TEST(JinjaErrors, RuntimeErrorsNameTheLine) {
  const Error raised =
      error_of("{% if x %}\n{{ raise_exception('Roles must ' ~ 'alternate') }}{% endif %}");
  EXPECT_EQ(raised.code(), ErrorCode::kUsage);
  EXPECT_STREQ(raised.what(), "t.jinja: line 2: Roles must alternate");
  EXPECT_STREQ(error_of("{{ messages[0].content }}").what(),
               "t.jinja: line 1: 'messages' is undefined");
  EXPECT_STREQ(error_of("{{ x.y.z }}").what(),
               "t.jinja: line 1: 'int object' has no attribute 'y'");
  EXPECT_STREQ(error_of("\n{{ [].append(1) }}").what(),
               "t.jinja: line 2: access to attribute 'append' of 'list' object is unsafe");
  EXPECT_EQ(error_of("{{ x }}", nlohmann::ordered_json::array()).code(), ErrorCode::kUsage);
}

TEST(JinjaBounds, TextAndTime) {
  for (const char* source : {
           "{{ 'a' * 10 ** 9 }}",
           "{{ [1] * 10 ** 12 }}",
           "{{ 'a'.ljust(10 ** 10) }}",
           "{{ 'a'|center(10 ** 10) }}",
           "{{ 'a'|indent(10 ** 10, true) }}",
           "{{ '%1000000000d' % 1 }}",
           "{{ '{:1000000000}'.format(1) }}",
           "{{ [1]|batch(10 ** 10, 'x')|list }}",
           "{{ [1]|slice(10 ** 10)|list }}",
           "{{ {'a': 1}|tojson(indent=10 ** 9) }}",
           "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
           "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s * 2 %}{% "
           "endfor %}",
           "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = "
           "ns.s.replace('a', "
           "ns.s) %}{% endfor %}",
           "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}"
           "{% endfor %}{{ ns.l }}",
           "{% set ns = namespace(l=[1], m=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, "
           "ns.l] %}"
           "{% set ns.m = [ns.m, ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
           "{{ 2 ** 1000 }}",
           "{{ 170141183460469231731687303715884105727 + 1 }}",
       }) {
    const Error error = error_of(source);
    EXPECT_EQ(error.code(), ErrorCode::kUsage) << source << error.what();
  }
}

TEST(JinjaBounds, Depth) {
  for (const char* source : {
           "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
           "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% "
           "endfor %}",
           "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = ns.l|map('list') "
           "%}"
           "{% endfor %}",
           "{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns }}",
           "{% for x in [[]] recursive %}{{ loop([[]]) }}{% endfor %}",
       }) {
    const Error error = error_of(source);
    EXPECT_EQ(error.code(), ErrorCode::kUsage) << source << error.what();
  }
  const auto repeat = [](const std::string& text, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) out += text;
    return out;
  };
  EXPECT_EQ(error_of("{{ " + repeat("(", 100000)).code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error_of("{{ " + repeat("[", 100000)).code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error_of("{{ " + repeat("-", 100000) + "1 }}").code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error_of("{{ " + repeat("not ", 100000) + "1 }}").code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error_of("{{ 1" + repeat("+1", 100000) + " }}").code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error_of("{{ x" + repeat(".x", 100000) + " }}").code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error_of("{{ x" + repeat("|abs", 100000) + " }}").code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error_of(repeat("{% if x %}", 100000)).code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error_of("{% set " + repeat("(", 100000)).code(), ErrorCode::kCorrupt);
}

TEST(JinjaBounds, ATemplateThatKeepsItselfIsFreed) {
  // Leaks are for the sanitizer to see: cycles through namespaces, macros and loops.
  const std::string source =
      "{% set ns = namespace() %}{% set ns.ns = ns %}{% for x in [ns, 1] %}{% set ns.loop = loop %}"
      "{% macro m() %}{{ ns }}{% endmacro %}{% set ns.m = m %}{% endfor %}{{ ns.loop.index }}";
  EXPECT_EQ(ChatTemplate::parse(source, "t").render(nlohmann::ordered_json::object()).text, "2");
}

}  // namespace
}  // namespace flashmoe::text
