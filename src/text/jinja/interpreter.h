// Renders a parsed template: walks its tree with the scopes that jinja2 gives it. One object per
// render.
#pragma once

#include <deque>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/globals.h"
#include "text/jinja/text_builder.h"

namespace flashmoe::text::jinja {

class Interpreter {
 public:
  explicit Interpreter(Context& context);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  void set_variable(std::string_view name, Value value) { set(root_, name, std::move(value)); }
  MarkedText render(const Body& body);

 private:
  struct Scope {
    Scope* parent = nullptr;
    bool captured = false;  // a macro or an iterator may still read it
    std::vector<std::pair<std::string_view, Value>> variables;
  };
  class ScopeGuard;
  struct Loop;
  enum class Flow { kNormal, kBreak, kContinue };

  Scope& new_scope(Scope* parent);
  void release(Scope* scope);
  void capture(Scope* scope);
  void set(Scope* scope, std::string_view name, Value value);
  Value get(const std::string& name);

  Flow exec(const Body& body, TextBuilder* out);
  Flow exec(const Stmt& stmt, TextBuilder* out);
  Flow exec_if(const Stmt& stmt, TextBuilder* out);
  Flow exec_for(const Stmt& stmt, TextBuilder* out);
  Flow run_loop(const Stmt& stmt, const Value& iterable, Scope* outer, Int depth0,
                TextBuilder* out);
  Flow exec_set_block(const Stmt& stmt);
  Flow exec_with(const Stmt& stmt, TextBuilder* out);
  Flow exec_filter(const Stmt& stmt, TextBuilder* out);
  void exec_call_block(const Stmt& stmt, TextBuilder* out);
  void exec_function_body(const Stmt& stmt, Scope* parent, TextBuilder* out);
  void assign(const Expr& target, const Value& value);
  Value make_macro(const Stmt& stmt, const std::string& name);
  Value call_macro(const Stmt& stmt, Scope* closure, const std::string& name, Args args);

  Value eval(const Expr& expr);
  Value eval_binary(const Expr& expr);
  Value eval_compare(const Expr& expr);
  Value eval_concat(const Expr& expr);
  Value eval_conditional(const Expr& expr);
  Value eval_dict(const Expr& expr);
  Value eval_slice(const Expr& expr);
  Value eval_call(const Expr& expr, const Value* caller);
  Value eval_filter(const Expr& expr);
  Value eval_test(const Expr& expr);
  std::vector<Value> eval_all(const std::vector<ExprPtr>& exprs);
  Args eval_args(const CallArgs& args);

  Context& context_;
  std::deque<Scope> scopes_;
  std::vector<Scope*> free_scopes_;
  NamespaceArena namespaces_;
  std::vector<std::unique_ptr<Loop>>
      loops_;  // kept for the whole render: a template may keep `loop`
  Scope* root_;
  Scope* scope_ = nullptr;
  Value block_text_;  // of the filter block whose filters run now
};

}  // namespace flashmoe::text::jinja
