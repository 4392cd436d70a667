// The expressions of the template language; base of the parser of statements.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

namespace flashmoe::text::jinja {

class ExpressionParser {
 protected:
  ExpressionParser(std::string source, const std::string& name)
      : name_(name), tokens_(tokenize(std::move(source), name)) {}

  // What ends a tuple without brackets, besides the end of the tag.
  struct TupleOptions {
    bool with_conditional = true;
    bool in_parentheses = false;
    std::string_view end_name = {};
  };

  ExprPtr parse_expression() { return parse_conditional(); }
  ExprPtr parse_tuple(const TupleOptions& options);
  // With `with_namespace`, "a.b" is a target too.
  ExprPtr parse_target(bool with_namespace, std::string_view end_name = {});
  ExprPtr parse_filters(ExprPtr node, bool first_is_inline);
  void parse_call_args(CallArgs* args);

  const Token& current() const { return tokens_[pos_]; }
  const Token& ahead() const { return tokens_[std::min(pos_ + 1, tokens_.size() - 1)]; }
  const Token& advance() { return tokens_[pos_ + 1 < tokens_.size() ? pos_++ : pos_]; }
  bool skip_operator(std::string_view op);
  bool skip_name(std::string_view name);
  void expect_operator(std::string_view op);
  void expect_name(std::string_view name);
  std::string expect_identifier();
  void expect(Token::Kind kind);
  std::string describe(const Token& token) const;
  template <typename... Args>
  [[noreturn]] void fail(int line, fmt::format_string<Args...> format, Args&&... args) const {
    syntax_error(name_, line, format, std::forward<Args>(args)...);
  }
  void limit_depth(int depth, int line) const;

  // A filter or test that does not exist is an error at once, but for conditional code.
  struct Unknown {
    int line;
    std::string message;
  };
  std::vector<Unknown> unknown_;
  bool in_condition_ = false;

  // Names that the innermost macro bodies read; jinja2 decides by them what a macro accepts.
  std::vector<std::set<std::string>> names_read_;

  const std::string& name_;

 private:
  class Nesting;
  using Parse = ExprPtr (ExpressionParser::*)();
  struct BinaryOperator {
    std::string_view token;
    Expr::Kind kind;
  };
  ExprPtr parse_binary(Parse operand, std::initializer_list<BinaryOperator> operators);

  ExprPtr parse_conditional();
  ExprPtr parse_or();
  ExprPtr parse_and();
  ExprPtr parse_not();
  ExprPtr parse_compare();
  ExprPtr parse_sum();
  ExprPtr parse_concat();
  ExprPtr parse_product();
  ExprPtr parse_power();
  ExprPtr parse_unary() { return parse_unary(true); }
  ExprPtr parse_unary(bool with_filter);
  ExprPtr parse_primary(bool with_namespace);
  ExprPtr parse_list();
  ExprPtr parse_dict();
  ExprPtr parse_postfix(ExprPtr node);
  ExprPtr parse_subscript(ExprPtr node);
  ExprPtr parse_subscribed(ExprPtr node);
  ExprPtr parse_call(ExprPtr callee);
  ExprPtr parse_test(ExprPtr node);

  ExprPtr make(Expr::Kind kind, int line) const;
  ExprPtr finish(ExprPtr node) const;  // sets the depth, once the children are there
  template <typename... Items>
  ExprPtr make(Expr::Kind kind, int line, Items... items) const {
    ExprPtr node = make(kind, line);
    (node->items.push_back(std::move(items)), ...);
    return finish(std::move(node));
  }

  std::vector<Token> tokens_;
  size_t pos_ = 0;
  int nesting_ = 0;
};

}  // namespace flashmoe::text::jinja
