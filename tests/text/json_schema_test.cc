#include "text/json_schema.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/text/small_tokenizer.h"
#include "text/grammar_constraint.h"

namespace flashmoe::text {
namespace {

using Json = nlohmann::ordered_json;

const std::shared_ptr<GrammarVocabulary>& vocabulary() {
  static const auto* const kTokenizer = new Tokenizer(small_tokenizer({"\":", "{\""}, {}));
  static const auto* const kVocabulary =
      new std::shared_ptr<GrammarVocabulary>(std::make_shared<GrammarVocabulary>(*kTokenizer));
  return *kVocabulary;
}

std::shared_ptr<CompiledGrammar> compile(const std::string& schema) {
  return std::make_shared<CompiledGrammar>(json_schema_grammar(Json::parse(schema)), vocabulary());
}

bool accepts(const std::shared_ptr<CompiledGrammar>& grammar, std::string_view text) {
  GrammarConstraint constraint(grammar);
  std::vector<uint64_t> bits(vocabulary()->mask_words());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    constraint.allowed(1 << 20, bits);
    if ((bits[byte / 64] >> (byte % 64) & 1) == 0) return false;
    constraint.accept(byte);
  }
  return constraint.may_end();
}

struct Case {
  std::string schema;
  std::vector<std::string> good, bad;
};

void check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const auto grammar = compile(c.schema);
    for (const std::string& text : c.good) EXPECT_TRUE(accepts(grammar, text)) << c.schema << text;
    for (const std::string& text : c.bad) EXPECT_FALSE(accepts(grammar, text)) << c.schema << text;
  }
}

TEST(JsonSchema, Strings) {
  check({
      {R"({"type": "string"})",
       {R"("")", "\"\u00e9\U0001f600\"", R"("\n\"\\\/\u00e9")", R"("\ud83d\ude00")"},
       {"\"\n\"", R"("\q")", R"("\ud83d")", R"("\ud83dx")", R"("\ude00")", "\"\xff\"", "\"\x1f\""}},
      {R"({"type": "string", "minLength": 2, "maxLength": 3})",
       {R"("ab")", R"("a\nb")", "\"\u4e2d\U0001f600\"", R"("\ud83d\ude00x")"},
       {R"("a")", R"("abcd")", R"("\ud83d\ude00")"}},
      {R"({"enum": ["a\"b", 1, null, [1, "x"]]})",
       {R"("a\"b")", "1", "null", R"([1,"x"])"},
       {R"("a")", "2"}},
      {R"({"type": "string", "enum": ["a", 1, "toolong"], "maxLength": 3})",
       {R"("a")"},
       {"1", R"("toolong")"}},
      {R"({"const": true})", {"true"}, {"false"}},
      {R"({"pattern": "^(ab|c)\\d{2}$"})", {R"("ab12")", R"("c00")"}, {R"("ab1")", R"("xab12")"}},
      {R"({"pattern": "b+"})", {R"("abbc")", R"("b")", R"("\nb")"}, {R"("ac")"}},
      {R"({"pattern": "^[a-z]+$", "minLength": 3, "maxLength": 5})",
       {R"("abc")", R"("abcde")"},
       {R"("ab")", R"("abcdef")"}},
      {R"({"pattern": "^\"\\\\\\n$"})", {R"("\"\\\n")"}, {"\"\"\\\n\""}},
      {R"({"format": "date"})",
       {R"("2024-02-29")", R"("1999-12-31")"},
       {R"("2023-02-29")", R"("1900-02-29")", R"("2024-13-01")", R"("0000-01-01")",
        R"("2024-04-31")"}},
      {R"({"format": "date-time"})",
       {R"("2024-02-29T23:59:59.5+01:30")"},
       {R"("2024-02-29T24:00:00Z")"}},
      {R"({"format": "ipv4"})", {R"("255.0.10.199")"}, {R"("256.0.0.1")", R"("1.2.3")"}},
      {R"({"format": "ipv6"})",
       {R"("::1")", R"("2001:db8::ff00:42:8329")"},
       {R"("1::2::3")", R"("12345::")"}},
      {R"({"format": "uuid"})", {R"("123e4567-e89b-12d3-a456-426614174000")"}, {R"("123e4567")"}},
      {R"({"format": "email"})", {R"("a.b@c-d.org")"}, {R"("a@@b.c")", R"("a@b")"}},
  });
}

TEST(JsonSchema, Numbers) {
  check({
      {R"({"type": "integer"})", {"0", "-12", "999999999999999"}, {"-0", "01", "1.5", "", "-"}},
      {R"({"type": "number"})",
       {"0", "-0.5", "1e10", "12.25E-3"},
       {".5", "1.", "00", "1e", "1e999"}},
      {R"({"type": "integer", "minimum": -3, "maximum": 12})",
       {"-3", "-1", "0", "9", "10", "12"},
       {"-4", "13", "-10", "100"}},
      {R"({"type": "integer", "exclusiveMinimum": 0.5, "exclusiveMaximum": 3})",
       {"1", "2"},
       {"0", "3"}},
      {R"({"type": "integer", "minimum": 0, "maximum": 100, "multipleOf": 25})",
       {"0", "25", "100"},
       {"5", "125", "26", "-25"}},
      {R"({"type": "number", "minimum": -1.5, "exclusiveMaximum": 2.25})",
       {"-1.5", "-1.49", "-0.1", "0", "0.000", "2.2499", "2", "2.1", "1.99999"},
       {"-1.51", "2.25", "2.250", "3", "-2"}},
      {R"({"type": "number", "exclusiveMinimum": 0})", {"0.001", "1", "99.5"}, {"0", "0.0", "-1"}},
      {R"({"type": "number", "minimum": 1e-5, "maximum": 1e-4})",
       {"0.00001", "0.0001", "0.00005"},
       {"0", "0.00011", "0.000009"}},
      {R"({"type": "number", "minimum": 1.5, "maximum": 1.5})",
       {"1.5", "1.50"},
       {"1", "1.51", "1.49"}},
  });
}

TEST(JsonSchema, ObjectsAndArrays) {
  check({
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "null"}, "c": {}},
           "required": ["b"], "additionalProperties": false})",
       {R"({"b":null})", R"({"a": 1, "b":null,"c":{"x":[1, true]}})", R"({"b":null,"c":0})"},
       {"{}", R"({"a":1})", R"({"b":null,"a":1})", R"({"b":null,})", R"({"b":null,"d":1})",
        R"({,"b":null})"}},
      {R"({"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}}})",
       {"{}", R"({"a":1})", R"({"b":2})", R"({"a":1,"b":2})"},
       {R"({"b":2,"a":1})", R"({"a":2})", R"({"c":1})"}},
      {R"({"type": "object", "properties": {"ab": {"const": 1}}, "additionalProperties": {"type": "boolean"}})",
       {R"({"ab":1,"a":true,"abc":false,"":true,"b":true})", R"({"x":true})"},
       {R"({"ab":true})", R"({"ab":1,"ab":true})", R"({"a":1})"}},
      {R"({"type": "object", "additionalProperties": {"type": "null"}, "minProperties": 1, "maxProperties": 2})",
       {R"({"a":null})", R"({"a":null, "b":null})"},
       {"{}", R"({"a":null,"b":null,"c":null})"}},
      {R"({"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3})",
       {"[true]", "[true, false,true]"},
       {"[]", "[true,]", "[true,true,true,true]"}},
      {R"({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": {"const": 3}, "minItems": 1})",
       {"[1]", "[1,2]", "[1,2,3,3]"},
       {"[]", "[2]", "[1,3]"}},
      {R"({"type": "object"})", {"{}", R"({"a":{"b":[]},"c":"x"})"}, {"[]"}},
  });
}

TEST(JsonSchema, Combinations) {
  check({
      {R"({"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "properties": {
           "v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
           "required": ["v"], "additionalProperties": false}}})",
       {R"({"v":1,"kids":[{"v":2,"kids":[]},{"v":3}]})"},
       {R"({"kids":[]})", R"({"v":1,"kids":[{}]})"}},
      {R"({"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#"}}]})",
       {R"("x")", R"([["x"],[]])"},
       {"1", "[1]"}},
      {R"({"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
                     {"properties": {"a": {"minimum": 3}, "b": {"const": 1}}, "required": ["b"]}]})",
       {R"({"a":3,"b":1})"},
       {R"({"a":2,"b":1})", R"({"a":3})"}},
      {R"({"oneOf": [{"type": "object", "properties": {"k": {"const": "x"}, "v": {"type": "integer"}}, "required": ["k"]},
                     {"type": "object", "properties": {"k": {"const": "y"}}, "required": ["k"]}, {"type": "null"}]})",
       {R"({"k":"x","v":1})", R"({"k":"y"})", "null"},
       {R"({"k":"y","v":1})", R"({"k":"z"})"}},
      {R"({"type": ["integer", "null"], "minimum": 5})", {"5", "null"}, {"4", "true"}},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
           "anyOf": [{"required": ["a"]}, {"required": ["b"]}], "additionalProperties": false})",
       {R"({"a":1})", R"({"b":1})", R"({"a":1,"b":2})"},
       {"{}"}},
  });
  EXPECT_TRUE(accepts(std::make_shared<CompiledGrammar>(json_object_grammar(), vocabulary()),
                      R"({"a": {"b": [1, "x", null]}})"));
}

TEST(JsonSchema, WhatCannotBeHonouredIsNamed) {
  const struct {
    const char *schema, *message;
  } cases[] = {
      {R"({"properties": {"a": {"items": {"not": {}}}}})",
       "$.properties.a.items: the keyword 'not'"},
      {R"({"type": "array", "uniqueItems": true})", "uniqueItems"},
      {R"({"type": "text"})", "$.type"},
      {R"({"type": "string", "format": "colour"})", "known are date"},
      {R"({"type": "string", "pattern": "(?=a)b"})", "$.pattern"},
      {R"({"type": "string", "pattern": "a\\b"})", "\\b"},
      {R"({"type": "string", "minLength": -1})", "$.minLength"},
      {R"({"type": "number", "multipleOf": 0.01})", "multipleOf"},
      {R"({"$ref": "#/$defs/none"})", "points to nothing"},
      {R"({"$ref": "http://x/y"})", "does not point into this schema"},
      {R"({"$ref": "#"})", "can begin with itself"},
      {R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})", "may both match"},
      {R"({"type": "object", "required": ["a"], "additionalProperties": false})",
       "'a' is required"},
      {R"({"type": "object", "properties": {"n": {"$ref": "#"}}, "required": ["n"]})",
       "no finite text"},
      {R"({"anyOf": []})", "$.anyOf"},
      {R"([])", "must be an object"},
      {R"({"enum": []})", "no finite text"},
      {R"({"type": "object", "anyOf": [{"type": "string", "const": 1}]})", "no finite text"},
      {R"({"type": "integer", "minimum": 3, "maximum": 2})", "no finite text"},
  };
  for (const auto& c : cases) {
    try {
      compile(c.schema);
      ADD_FAILURE() << c.schema;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      EXPECT_NE(std::string(error.what()).find(c.message), std::string::npos)
          << c.schema << ": " << error.what();
    }
  }
}

}  // namespace
}  // namespace flashmoe::text
