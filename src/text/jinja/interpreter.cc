#include "text/jinja/interpreter.h"

#include <algorithm>

#include "text/jinja/filters.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/tests.h"

namespace flashmoe::text::jinja {
namespace {

constexpr uint64_t kNodeWork = 16;

Value unowned(Type type, Object* object) {  // of an object that lives as long as the render
  return Value(type, std::shared_ptr<Object>(std::shared_ptr<Object>(), object));
}

}  // namespace

class Interpreter::ScopeGuard {
 public:
  ScopeGuard(Interpreter* interpreter, Scope* parent)
      : interpreter_(interpreter), previous_(interpreter->scope_) {
    interpreter->scope_ = &interpreter->new_scope(parent);
  }
  ~ScopeGuard() {
    interpreter_->release(interpreter_->scope_);
    interpreter_->scope_ = previous_;
  }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;

 private:
  Interpreter* interpreter_;
  Scope* previous_;
};

// The variable `loop`.
struct Interpreter::Loop : AttributeObject {
  Value iterable;
  Iteration pass;
  Value current, before;
  std::optional<Value> ahead;
  std::optional<Int> known_length;
  std::optional<std::vector<Value>> last_changed;
  Int index0 = -1;
  Int depth0 = 0;
  Interpreter* interpreter = nullptr;
  const Stmt* stmt = nullptr;
  Scope* outer = nullptr;

  bool advance(Context& context) {
    Value item;
    if (ahead) {
      item = std::move(*ahead);
      ahead.reset();
    } else if (!pass(context, &item)) {
      return false;
    }
    ++index0;
    before = std::move(current);
    current = std::move(item);
    return true;
  }

  bool peek(Context& context) {
    if (ahead) return true;
    Value item;
    if (!pass(context, &item)) return false;
    ahead = std::move(item);
    return true;
  }

  Int size(Context& context) {
    if (known_length) return *known_length;
    known_length = jinja::length(context, iterable);
    if (!known_length) {  // an iterator: read to its end
      std::vector<Value> rest;
      for (Value item; pass(context, &item);) {
        context.charge(48);
        rest.push_back(item);
      }
      known_length = static_cast<Int>(rest.size()) + index0 + 1 + (ahead ? 1 : 0);
      pass = iterate(context, make_list(context, std::move(rest)));
    }
    return *known_length;
  }

  std::optional<Value> attribute(Context& context, std::string_view name) override {
    if (name == "index") return Value::integer(index0 + 1);
    if (name == "index0") return Value::integer(index0);
    if (name == "first") return Value::boolean(index0 == 0);
    if (name == "last") return Value::boolean(!peek(context));
    if (name == "length") return Value::integer(size(context));
    if (name == "revindex") return Value::integer(size(context) - index0);
    if (name == "revindex0") return Value::integer(size(context) - index0 - 1);
    if (name == "depth") return Value::integer(depth0 + 1);
    if (name == "depth0") return Value::integer(depth0);
    if (name == "previtem") {
      return index0 == 0 ? Value::undefined("there is no previous item") : before;
    }
    if (name == "nextitem") {
      return peek(context) ? *ahead : Value::undefined("there is no next item");
    }
    if (name == "cycle") {
      return make_function(context, "bound method LoopContext.cycle", 0,
                           [this](Context& c, Args args) {
                             if (args.positional.empty()) c.fail("no items for cycling given");
                             const Int count = static_cast<Int>(args.positional.size());
                             return args.positional[static_cast<size_t>(index0 % count)];
                           });
    }
    if (name == "changed") {
      return make_function(
          context, "bound method LoopContext.changed", 0, [this](Context& c, Args args) {
            const auto& now = args.positional;
            const bool same =
                last_changed && last_changed->size() == now.size() &&
                std::equal(now.begin(), now.end(), last_changed->begin(),
                           [&](const Value& a, const Value& b) { return equal(c, a, b); });
            last_changed = std::move(args.positional);
            return Value::boolean(!same);
          });
    }
    return std::nullopt;
  }

  std::string print(Context& context) override {
    return fmt::format("<LoopContext {}/{}>", print_integer(index0 + 1),
                       print_integer(size(context)));
  }

  Value call(Context& context, Args args) override {
    if (!stmt->flag) context.fail("the loop must be marked 'recursive' to be called");
    if (args.positional.size() != 1 || !args.named.empty()) {
      context.fail("loop takes one argument, what to loop over");
    }
    TextBuilder out(context);
    interpreter->run_loop(*stmt, args.positional[0], outer, depth0 + 1, &out);
    return Value::string(out.take());
  }
  bool callable() const override { return true; }
  std::optional<Int> length(Context& context) override { return size(context); }
  bool next(Context& context, Value* item) override {
    if (!advance(context)) return false;
    *item = make_tuple(context, {current, unowned(Type::kObject, this)});
    return true;
  }
};

Interpreter::Interpreter(Context& context) : context_(context), root_(&new_scope(nullptr)) {
  scope_ = root_;
}

Interpreter::~Interpreter() = default;

Interpreter::Scope& Interpreter::new_scope(Scope* parent) {
  context_.charge(64);
  if (free_scopes_.empty()) {
    scopes_.emplace_back();
    free_scopes_.push_back(&scopes_.back());
  }
  Scope* scope = free_scopes_.back();
  free_scopes_.pop_back();
  scope->parent = parent;
  return *scope;
}

void Interpreter::release(Scope* scope) {
  if (scope->captured) return;
  scope->variables.clear();
  free_scopes_.push_back(scope);
}

void Interpreter::capture(Scope* scope) {
  for (; scope && !scope->captured; scope = scope->parent) scope->captured = true;
}

void Interpreter::set(Scope* scope, std::string_view name, Value value) {
  for (auto& [other, old] : scope->variables) {
    if (other == name) {
      old = std::move(value);
      return;
    }
  }
  context_.charge(64);
  scope->variables.emplace_back(name, std::move(value));
}

Value Interpreter::get(const std::string& name) {
  for (const Scope* scope = scope_; scope; scope = scope->parent) {
    for (const auto& [other, value] : scope->variables) {
      if (other == name) return value;
    }
  }
  if (auto global = find_global(context_, name, &namespaces_)) {
    set(root_, name, *global);
    return *global;
  }
  return Value::undefined(fmt::format("'{}' is undefined", name));
}

MarkedText Interpreter::render(const Body& body) {
  TextBuilder out(context_);
  exec(body, &out);
  return out.take();
}

// -------------------------------------------------------------------------------------------------
// Statements

Interpreter::Flow Interpreter::exec(const Body& body, TextBuilder* out) {
  for (const StmtPtr& stmt : body) {
    const Flow flow = exec(*stmt, out);
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::exec(const Stmt& stmt, TextBuilder* out) {
  const Context::Level level(context_);
  context_.charge(kNodeWork);
  context_.line = stmt.line;
  switch (stmt.kind) {
    case Stmt::kText:
      out->append(stmt.text.marked());
      return Flow::kNormal;
    case Stmt::kOutput:
      for (const ExprPtr& expr : stmt.exprs) append_str(context_, eval(*expr), out);
      return Flow::kNormal;
    case Stmt::kIf:
      return exec_if(stmt, out);
    case Stmt::kFor:
      return exec_for(stmt, out);
    case Stmt::kSet:
      assign(*stmt.target, eval(*stmt.exprs[0]));
      return Flow::kNormal;
    case Stmt::kSetBlock:
      return exec_set_block(stmt);
    case Stmt::kMacro:
      set(scope_, stmt.name, make_macro(stmt, stmt.name));
      return Flow::kNormal;
    case Stmt::kCallBlock:
      exec_call_block(stmt, out);
      return Flow::kNormal;
    case Stmt::kFilter:
      return exec_filter(stmt, out);
    case Stmt::kWith:
      return exec_with(stmt, out);
    case Stmt::kGeneration:
      exec_function_body(stmt, scope_, out);
      return Flow::kNormal;
    case Stmt::kBlock:
      exec_function_body(stmt, stmt.flag ? scope_ : root_, out);
      return Flow::kNormal;
    case Stmt::kBreak:
      return Flow::kBreak;
    case Stmt::kContinue:
      return Flow::kContinue;
    case Stmt::kTemplate:
      context_.fail("'{}': there are no other templates to load", stmt.name);
  }
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::exec_if(const Stmt& stmt, TextBuilder* out) {
  for (size_t i = 0; i < stmt.exprs.size(); ++i) {
    if (truth(context_, eval(*stmt.exprs[i]))) return exec(stmt.bodies[i], out);
  }
  if (stmt.bodies.size() > stmt.exprs.size()) return exec(stmt.bodies.back(), out);
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::exec_for(const Stmt& stmt, TextBuilder* out) {
  const Value iterable = eval(*stmt.exprs[0]);
  return run_loop(stmt, iterable, scope_, 0, out);
}

Interpreter::Flow Interpreter::run_loop(const Stmt& stmt, const Value& iterable, Scope* outer,
                                        Int depth0, TextBuilder* out) {
  context_.charge(512);
  Loop& loop = *loops_.emplace_back(std::make_unique<Loop>());
  loop.interpreter = this;
  loop.stmt = &stmt;
  loop.outer = outer;
  loop.depth0 = depth0;
  loop.iterable = iterable;
  loop.pass = iterate(context_, iterable);
  if (stmt.flag) capture(outer);
  if (stmt.exprs.size() > 1) {  // the filter runs as the loop asks for items
    capture(outer);
    loop.iterable =
        make_iterator(context_, "generator object", iterable.depth(),
                      [this, outer, &stmt, pass = loop.pass](Context& context, Value* item) {
                        while (pass(context, item)) {
                          const ScopeGuard guard(this, outer);
                          assign(*stmt.target, *item);
                          if (truth(context, eval(*stmt.exprs[1]))) return true;
                        }
                        return false;
                      });
    loop.pass = iterate(context_, loop.iterable);
  }

  bool completed = false;  // an iteration to its end; the else is for none
  {
    const ScopeGuard guard(this, outer);
    const Value loop_value = unowned(Type::kObject, &loop);
    while (loop.advance(context_)) {
      scope_->variables.clear();
      assign(*stmt.target, loop.current);
      set(scope_, "loop", loop_value);
      const Flow flow = exec(stmt.bodies[0], out);
      if (flow == Flow::kBreak) break;
      if (flow == Flow::kNormal) completed = true;
    }
  }
  if (completed || stmt.bodies.size() < 2) return Flow::kNormal;
  const ScopeGuard guard(this, outer);
  return exec(stmt.bodies[1], out);
}

Interpreter::Flow Interpreter::exec_set_block(const Stmt& stmt) {
  TextBuilder text(context_);
  Value value;
  {
    const ScopeGuard guard(this, scope_);
    const Flow flow = exec(stmt.bodies[0], &text);
    if (flow != Flow::kNormal) return flow;
    value = Value::string(text.take());
    if (!stmt.exprs.empty()) {
      const Value outer_text = std::exchange(block_text_, value);
      value = eval(*stmt.exprs[0]);
      block_text_ = outer_text;
    }
  }
  assign(*stmt.target, value);
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::exec_filter(const Stmt& stmt, TextBuilder* out) {
  TextBuilder text(context_);
  const ScopeGuard guard(this, scope_);
  const Flow flow = exec(stmt.bodies[0], &text);
  if (flow != Flow::kNormal) return flow;
  const Value outer_text = std::exchange(block_text_, Value::string(text.take()));
  const Value value = eval(*stmt.exprs[0]);
  block_text_ = outer_text;
  append_str(context_, value, out);
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::exec_with(const Stmt& stmt, TextBuilder* out) {
  std::vector<Value> values;
  for (size_t i = 1; i < stmt.exprs.size(); i += 2) values.push_back(eval(*stmt.exprs[i]));
  const ScopeGuard guard(this, scope_);
  for (size_t i = 0; i < values.size(); ++i) assign(*stmt.exprs[2 * i], values[i]);
  return exec(stmt.bodies[0], out);
}

void Interpreter::exec_call_block(const Stmt& stmt, TextBuilder* out) {
  const Value caller = make_macro(stmt, "caller");
  append_str(context_, eval_call(*stmt.exprs[0], &caller), out);
}

void Interpreter::exec_function_body(const Stmt& stmt, Scope* parent, TextBuilder* out) {
  const ScopeGuard guard(this, parent);
  exec(stmt.bodies[0], out);
}

void Interpreter::assign(const Expr& target, const Value& value) {
  switch (target.kind) {
    case Expr::kTuple: {
      const std::vector<Value> items = to_vector(context_, value);
      if (items.size() != target.items.size()) {
        context_.fail("cannot unpack {} values into {} names", items.size(), target.items.size());
      }
      for (size_t i = 0; i < items.size(); ++i) assign(*target.items[i], items[i]);
      return;
    }
    case Expr::kNsRef: {
      const Value space = get(target.name);
      if (!space.is(Type::kNamespace)) {
        context_.fail("cannot assign an attribute to '{}': it is not a namespace", target.name);
      }
      if (target.text[0] == '_') {
        context_.fail("the attributes of a namespace cannot begin with an underscore");
      }
      space.name_space().attributes.set(context_, Value::literal(target.text), value);
      return;
    }
    default:
      set(scope_, target.name, value);
  }
}

Value Interpreter::make_macro(const Stmt& stmt, const std::string& name) {
  Scope* closure = scope_;
  capture(closure);
  context_.charge(512);
  auto macro = std::make_shared<FunctionObject>();
  macro->name = fmt::format("Macro '{}'", name);
  macro->call = [this, &stmt, closure, name](Context&, Args args) {
    return call_macro(stmt, closure, name, std::move(args));
  };
  std::vector<Value> names;
  for (const Parameter& parameter : stmt.parameters)
    names.push_back(Value::literal(parameter.name));
  macro->attributes = {{"name", Value::literal(name)},
                       {"arguments", make_tuple(context_, std::move(names))},
                       {"catch_kwargs", Value::boolean(stmt.uses_kwargs)},
                       {"catch_varargs", Value::boolean(stmt.uses_varargs)},
                       {"caller", Value::boolean(stmt.uses_caller)}};
  return Value(Type::kFunction, std::move(macro));
}

Value Interpreter::call_macro(const Stmt& stmt, Scope* closure, const std::string& name,
                              Args args) {
  const size_t count = stmt.parameters.size();
  const ScopeGuard guard(this, closure);
  const auto take_named = [&](std::string_view wanted) -> std::optional<Value> {
    for (auto it = args.named.begin(); it != args.named.end(); ++it) {
      if (it->first != wanted) continue;
      Value value = std::move(it->second);
      args.named.erase(it);
      return value;
    }
    return std::nullopt;
  };

  std::vector<bool> given(count, false);
  for (size_t i = 0; i < count; ++i) {
    std::optional<Value> value;
    if (i < args.positional.size()) {
      value = args.positional[i];
    } else {
      value = take_named(stmt.parameters[i].name);
    }
    given[i] = value.has_value();
    set(scope_, stmt.parameters[i].name,
        value ? *value
              : Value::undefined(
                    fmt::format("parameter '{}' was not provided", stmt.parameters[i].name)));
  }
  if (stmt.uses_caller) {
    const auto caller = take_named("caller");
    set(scope_, "caller",
        caller && !caller->is(Type::kNone) ? *caller : Value::undefined("No caller defined"));
  }
  if (stmt.uses_kwargs) {
    auto dict = std::make_shared<DictObject>();
    for (const auto& [key, value] : args.named) dict->set(context_, args.name_value(key), value);
    set(scope_, "kwargs", make_dict(context_, std::move(dict)));
  } else if (!args.named.empty()) {
    context_.fail("macro '{}' takes no argument '{}'", name, args.named[0].first);
  }
  if (stmt.uses_varargs) {
    std::vector<Value> rest;
    if (args.positional.size() > count) {
      rest.assign(args.positional.begin() + static_cast<ptrdiff_t>(count), args.positional.end());
    }
    set(scope_, "varargs", make_tuple(context_, std::move(rest)));
  } else if (args.positional.size() > count) {
    context_.fail("macro '{}' takes not more than {} arguments", name, count);
  }
  for (size_t i = 0; i < count; ++i) {
    const Parameter& parameter = stmt.parameters[i];
    if (!given[i] && parameter.fallback) set(scope_, parameter.name, eval(*parameter.fallback));
  }
  TextBuilder out(context_);
  exec(stmt.bodies[0], &out);
  return Value::string(out.take());
}

// -------------------------------------------------------------------------------------------------
// Expressions

Value Interpreter::eval(const Expr& expr) {
  const Context::Level level(context_);
  context_.charge(kNodeWork);
  context_.line = expr.line;
  switch (expr.kind) {
    case Expr::kConst:
      return expr.value;
    case Expr::kName:
    case Expr::kNsRef:
      return get(expr.name);
    case Expr::kTuple:
      return make_tuple(context_, eval_all(expr.items));
    case Expr::kList:
      return make_list(context_, eval_all(expr.items));
    case Expr::kDict:
      return eval_dict(expr);
    case Expr::kAttribute:
      return get_attribute(context_, eval(*expr.items[0]), expr.value);
    case Expr::kItem: {
      const Value object = eval(*expr.items[0]);
      return get_item(context_, object, eval(*expr.items[1]));
    }
    case Expr::kSlice:
      return eval_slice(expr);
    case Expr::kCall:
      return eval_call(expr, nullptr);
    case Expr::kFilter:
      return eval_filter(expr);
    case Expr::kTest:
      return eval_test(expr);
    case Expr::kNot:
      return Value::boolean(!truth(context_, eval(*expr.items[0])));
    case Expr::kNegate:
      return negate(context_, eval(*expr.items[0]));
    case Expr::kPlus:
      return plus(context_, eval(*expr.items[0]));
    case Expr::kAnd:
    case Expr::kOr: {
      Value left = eval(*expr.items[0]);
      return truth(context_, left) == (expr.kind == Expr::kOr) ? left : eval(*expr.items[1]);
    }
    case Expr::kCompare:
      return eval_compare(expr);
    case Expr::kConcat:
      return eval_concat(expr);
    case Expr::kConditional:
      return eval_conditional(expr);
    default:
      return eval_binary(expr);
  }
}

Value Interpreter::eval_binary(const Expr& expr) {
  const Value left = eval(*expr.items[0]);
  const Value right = eval(*expr.items[1]);
  context_.line = expr.line;
  return binary(context_, expr.kind, left, right);
}

Value Interpreter::eval_compare(const Expr& expr) {
  Value left = eval(*expr.items[0]);
  for (size_t i = 0; i < expr.operators.size(); ++i) {
    Value right = eval(*expr.items[i + 1]);
    context_.line = expr.line;
    if (!compare(context_, expr.operators[i], left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Interpreter::eval_concat(const Expr& expr) {
  const std::vector<Value> values = eval_all(expr.items);
  TextBuilder out(context_);
  for (const Value& value : values) append_str(context_, value, &out);
  return Value::string(out.take());
}

Value Interpreter::eval_conditional(const Expr& expr) {
  if (truth(context_, eval(*expr.items[1]))) return eval(*expr.items[0]);
  if (expr.items[2]) return eval(*expr.items[2]);
  return Value::undefined("an inline 'if' without 'else' was false");
}

Value Interpreter::eval_dict(const Expr& expr) {
  auto dict = std::make_shared<DictObject>();
  for (size_t i = 0; i < expr.items.size(); i += 2) {
    const Value key = eval(*expr.items[i]);
    dict->set(context_, key, eval(*expr.items[i + 1]));
  }
  return make_dict(context_, std::move(dict));
}

Value Interpreter::eval_slice(const Expr& expr) {
  const Value object = eval(*expr.items[0]);
  Value bounds[3];
  for (size_t i = 0; i < 3; ++i) {
    if (expr.items[i + 1]) bounds[i] = eval(*expr.items[i + 1]);
  }
  context_.line = expr.line;
  return slice(context_, object, bounds[0], bounds[1], bounds[2]);
}

std::vector<Value> Interpreter::eval_all(const std::vector<ExprPtr>& exprs) {
  std::vector<Value> values;
  values.reserve(exprs.size());
  for (const ExprPtr& expr : exprs) values.push_back(eval(*expr));
  return values;
}

Args Interpreter::eval_args(const CallArgs& call) {
  Args args;
  args.positional = eval_all(call.positional);
  for (const auto& [name, expr] : call.named) args.named.emplace_back(name, eval(*expr));
  if (call.star) {
    const std::vector<Value> more = to_vector(context_, eval(*call.star));
    args.positional.insert(args.positional.end(), more.begin(), more.end());
  }
  if (!call.star_star) return args;
  const Value mapping = eval(*call.star_star);
  if (!mapping.is(Type::kDict)) context_.fail("** needs a mapping, not a {}", type_name(mapping));
  for (const auto& entry : mapping.dict().entries()) {
    if (!entry.key.is(Type::kString)) context_.fail("the names of arguments must be strings");
    const std::string& name = entry.key.text();
    for (const auto& named : args.named) {
      if (named.first == name) context_.fail("the argument '{}' is given twice", name);
    }
    context_.charge(args.named.size());
    args.named.emplace_back(name, entry.value);
    if (!all_own(entry.key.marked())) args.own_names = false;
  }
  return args;
}

Value Interpreter::eval_call(const Expr& expr, const Value* caller) {
  const Value callee = eval(*expr.items[0]);
  Args args = eval_args(expr.args);
  if (caller) args.named.emplace_back("caller", *caller);
  context_.line = expr.line;
  return call(context_, callee, std::move(args));
}

Value Interpreter::eval_filter(const Expr& expr) {
  const Value value = expr.items[0] ? eval(*expr.items[0]) : block_text_;
  const Args args = eval_args(expr.args);
  context_.line = expr.line;
  const Filter filter = find_filter(expr.name);
  if (!filter) context_.fail("no filter named '{}'", expr.name);
  return filter(context_, value, args);
}

Value Interpreter::eval_test(const Expr& expr) {
  const Value value = eval(*expr.items[0]);
  const Args args = eval_args(expr.args);
  context_.line = expr.line;
  const Test test = find_test(expr.name);
  if (!test) context_.fail("no test named '{}'", expr.name);
  return Value::boolean(test(context_, value, args));
}

}  // namespace flashmoe::text::jinja
