// Schemas to expressions of a grammar, one schema after the other. Owns the rules it has made.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "text/grammar/grammar.h"
#include "text/schema/numbers.h"
#include "text/schema/reader.h"
#include "text/schema/regex.h"

namespace flashmoe::text::schema {

class SchemaBuilder {
 public:
  // `document` is where references point into; rules are added to `grammar`.
  SchemaBuilder(const Json& document, Grammar* grammar) : reader_(document), g_(*grammar) {}

  // The JSON values that a schema within the document allows.
  Grammar::Expr value(const Json& schema, const std::string& path) {
    return expr(schema, path, StringForm::kJson);
  }
  // The same as a model writes it between tags: a string as it is, without quotes, and true, false
  // and null also as Python spells them.
  Grammar::Expr raw_value(const Json& schema, const std::string& path) {
    return expr(schema, path, StringForm::kRaw);
  }
  // Any object, its members nested to a limited depth.
  Grammar::Expr any_object() { return any_container(0, true); }

  const SchemaReader& reader() const { return reader_; }

 private:
  using Expr = Grammar::Expr;

  // One entry of an object or array.
  struct Item {
    Expr expr;
    bool required;
  };

  Expr expr(const Json& schema, const std::string& path, StringForm form);
  Expr plain(const Json& schema, const std::string& path, StringForm form);
  Expr alternatives(const Json& schema, const std::string& path, StringForm form);
  Expr listed(const Json& schema, const std::string& path, StringForm form);
  Expr string(const Json& schema, const std::string& path, StringForm form);
  Expr number(const Json& schema, const std::string& path, bool is_integer);
  Expr object(const Json& schema, const std::string& path);
  Expr array(const Json& schema, const std::string& path);
  Expr word(std::string_view json, std::string_view python, StringForm form);
  // Items in order with commas between, then `more` at least min and at most max times.
  Expr items(const std::vector<Item>& items, Expr more, int64_t min, int64_t max, bool not_empty);
  Expr key(const std::string& name);
  // Any key but these, without escapes.
  Expr other_key(const std::vector<std::string>& names);
  Expr key_rest(const std::vector<std::string>& names, size_t from, size_t to, size_t at);
  Expr any_value(int depth);
  Expr any_container(int depth, bool is_object);
  Expr any_scalar();
  Expr comma() { return g_.sequence({g_.literal(","), g_.optional(g_.literal(" "))}); }
  Expr as_rule(const std::string& name, Expr body);
  void check_disjoint(const Json& alternatives, const std::string& path) const;

  SchemaReader reader_;
  Grammar& g_;
  std::map<std::string, Grammar::Rule> rules_;  // by the schema's text
  std::vector<Grammar::Rule> any_;              // by depth, of objects and arrays in turn
  Grammar::Rule string_ = -1;                   // any string
  int depth_ = 0;
};

}  // namespace flashmoe::text::schema
