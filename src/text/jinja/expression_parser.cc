#include "text/jinja/expression_parser.h"

#include <algorithm>
#include <utility>

#include "text/jinja/filters.h"
#include "text/jinja/tests.h"

namespace flashmoe::text::jinja {
namespace {

// Python itself gives up at about this nesting of the code that jinja2 makes.
constexpr int kMaxTreeDepth = 200;

}  // namespace

class ExpressionParser::Nesting {
 public:
  explicit Nesting(ExpressionParser* parser) : parser_(parser) {
    parser_->limit_depth(++parser_->nesting_, parser_->current().line);
  }
  ~Nesting() { --parser_->nesting_; }

 private:
  ExpressionParser* parser_;
};

void ExpressionParser::limit_depth(int depth, int line) const {
  if (depth > kMaxTreeDepth) fail(line, "more than {} levels of nesting", kMaxTreeDepth);
}

bool ExpressionParser::skip_operator(std::string_view op) {
  if (!current().is_operator(op)) return false;
  advance();
  return true;
}

bool ExpressionParser::skip_name(std::string_view name) {
  if (!current().is_name(name)) return false;
  advance();
  return true;
}

void ExpressionParser::expect_operator(std::string_view op) {
  if (!skip_operator(op)) {
    fail(current().line, "expected '{}', got {}", op, describe(current()));
  }
}

void ExpressionParser::expect_name(std::string_view name) {
  if (!skip_name(name)) {
    fail(current().line, "expected '{}', got {}", name, describe(current()));
  }
}

std::string ExpressionParser::expect_identifier() {
  if (current().kind != Token::kName) {
    fail(current().line, "expected a name, got {}", describe(current()));
  }
  return advance().text;
}

void ExpressionParser::expect(Token::Kind kind) {
  if (current().kind != kind) {
    Token wanted;
    wanted.kind = kind;
    fail(current().line, "expected {}, got {}", describe(wanted), describe(current()));
  }
  advance();
}

std::string ExpressionParser::describe(const Token& token) const {
  switch (token.kind) {
    case Token::kData:
      return "text";
    case Token::kVariableBegin:
      return "'{{'";
    case Token::kVariableEnd:
      return "'}}'";
    case Token::kBlockBegin:
      return "'{%'";
    case Token::kBlockEnd:
      return "'%}'";
    case Token::kString:
      return "a string";
    case Token::kInteger:
    case Token::kFloat:
      return "a number";
    case Token::kEnd:
      return "the end of the template";
    default:
      return "'" + token.text + "'";
  }
}

ExprPtr ExpressionParser::make(Expr::Kind kind, int line) const {
  auto node = std::make_unique<Expr>();
  node->kind = kind;
  node->line = line;
  return node;
}

ExprPtr ExpressionParser::finish(ExprPtr node) const {
  int depth = 0;
  const auto look = [&](const ExprPtr& child) {
    if (child) depth = std::max(depth, child->depth);
  };
  for (const auto& item : node->items) look(item);
  for (const auto& argument : node->args.positional) look(argument);
  for (const auto& [name, argument] : node->args.named) look(argument);
  look(node->args.star);
  look(node->args.star_star);
  node->depth = depth + 1;
  limit_depth(node->depth, node->line);
  return node;
}

ExprPtr ExpressionParser::parse_conditional() {
  const Nesting nesting(this);
  const int line = current().line;
  const size_t unknown_before = unknown_.size();
  ExprPtr value = parse_or();
  while (skip_name("if")) {
    ExprPtr test = parse_or();
    ExprPtr otherwise;
    if (skip_name("else")) otherwise = parse_conditional();
    value = make(Expr::kConditional, line, std::move(value), std::move(test), std::move(otherwise));
    unknown_.resize(unknown_before);
  }
  return value;
}

ExprPtr ExpressionParser::parse_binary(Parse operand,
                                       std::initializer_list<BinaryOperator> operators) {
  ExprPtr left = (this->*operand)();
  while (true) {
    const auto op = std::find_if(operators.begin(), operators.end(), [&](const auto& candidate) {
      return current().is_operator(candidate.token);
    });
    if (op == operators.end()) return left;
    const int line = advance().line;
    ExprPtr right = (this->*operand)();
    left = make(op->kind, line, std::move(left), std::move(right));
  }
}

ExprPtr ExpressionParser::parse_or() {
  ExprPtr left = parse_and();
  while (skip_name("or")) {
    ExprPtr right = parse_and();
    const int line = left->line;
    left = make(Expr::kOr, line, std::move(left), std::move(right));
  }
  return left;
}

ExprPtr ExpressionParser::parse_and() {
  ExprPtr left = parse_not();
  while (skip_name("and")) {
    ExprPtr right = parse_not();
    const int line = left->line;
    left = make(Expr::kAnd, line, std::move(left), std::move(right));
  }
  return left;
}

ExprPtr ExpressionParser::parse_not() {
  if (!current().is_name("not")) return parse_compare();
  const Nesting nesting(this);
  const int line = advance().line;
  return make(Expr::kNot, line, parse_not());
}

ExprPtr ExpressionParser::parse_compare() {
  static constexpr std::pair<std::string_view, Expr::Operator> kOperators[] = {
      {"==", Expr::kEq}, {"!=", Expr::kNe}, {"<", Expr::kLt},
      {"<=", Expr::kLe}, {">", Expr::kGt},  {">=", Expr::kGe}};
  ExprPtr first = parse_sum();
  ExprPtr node;
  while (true) {
    Expr::Operator found = Expr::kEq;
    const auto op = std::find_if(std::begin(kOperators), std::end(kOperators),
                                 [&](const auto& o) { return current().is_operator(o.first); });
    if (op != std::end(kOperators)) {
      found = op->second;
      advance();
    } else if (skip_name("in")) {
      found = Expr::kIn;
    } else if (current().is_name("not") && ahead().is_name("in")) {
      advance();
      advance();
      found = Expr::kNotIn;
    } else {
      break;
    }
    if (!node) {
      node = make(Expr::kCompare, first->line);
      node->items.push_back(std::move(first));
    }
    node->operators.push_back(found);
    node->items.push_back(parse_sum());
  }
  return node ? finish(std::move(node)) : std::move(first);
}

ExprPtr ExpressionParser::parse_sum() {
  return parse_binary(&ExpressionParser::parse_concat, {{"+", Expr::kAdd}, {"-", Expr::kSubtract}});
}

ExprPtr ExpressionParser::parse_concat() {
  ExprPtr first = parse_product();
  if (!current().is_operator("~")) return first;
  ExprPtr node = make(Expr::kConcat, first->line);
  node->items.push_back(std::move(first));
  while (skip_operator("~")) node->items.push_back(parse_product());
  return finish(std::move(node));
}

ExprPtr ExpressionParser::parse_product() {
  return parse_binary(&ExpressionParser::parse_power, {{"*", Expr::kMultiply},
                                                       {"/", Expr::kDivide},
                                                       {"//", Expr::kFloorDivide},
                                                       {"%", Expr::kModulo}});
}

ExprPtr ExpressionParser::parse_power() {
  return parse_binary(&ExpressionParser::parse_unary, {{"**", Expr::kPower}});
}

ExprPtr ExpressionParser::parse_unary(bool with_filter) {
  const Nesting nesting(this);
  const int line = current().line;
  ExprPtr node;
  if (skip_operator("-")) {
    node = make(Expr::kNegate, line, parse_unary(false));
  } else if (skip_operator("+")) {
    node = make(Expr::kPlus, line, parse_unary(false));
  } else {
    node = parse_primary(false);
  }
  node = parse_postfix(std::move(node));
  while (with_filter) {
    if (current().is_operator("|")) {
      node = parse_filters(std::move(node), false);
    } else if (current().is_name("is")) {
      node = parse_test(std::move(node));
    } else if (current().is_operator("(")) {
      node = parse_call(std::move(node));
    } else {
      break;
    }
  }
  return node;
}

ExprPtr ExpressionParser::parse_primary(bool with_namespace) {
  const Nesting nesting(this);
  const Token& token = current();
  const int line = token.line;
  ExprPtr node = make(Expr::kConst, line);
  switch (token.kind) {
    case Token::kName: {
      const std::string name = advance().text;
      if (name == "true" || name == "True") {
        node->value = Value::boolean(true);
      } else if (name == "false" || name == "False") {
        node->value = Value::boolean(false);
      } else if (name == "none" || name == "None") {
        node->value = Value::none(true);
      } else if (with_namespace && skip_operator(".")) {
        node->kind = Expr::kNsRef;
        node->name = name;
        node->text = expect_identifier();
        for (auto& names : names_read_) names.insert(name);
      } else {
        node->kind = Expr::kName;
        node->name = name;
        for (auto& names : names_read_) names.insert(name);
      }
      return node;
    }
    case Token::kString: {
      std::string text;
      while (current().kind == Token::kString) text += advance().text;
      node->value = Value::literal(std::move(text));
      return node;
    }
    case Token::kInteger:
      node->value = Value::integer(advance().integer);
      return node;
    case Token::kFloat:
      node->value = Value::real(advance().real);
      return node;
    default:
      break;
  }
  if (skip_operator("(")) {
    TupleOptions options;
    options.in_parentheses = true;
    node = parse_tuple(options);
    expect_operator(")");
    return node;
  }
  if (token.is_operator("[")) return parse_list();
  if (token.is_operator("{")) return parse_dict();
  fail(line, "unexpected {}", describe(token));
}

ExprPtr ExpressionParser::parse_list() {
  ExprPtr node = make(Expr::kList, current().line);
  expect_operator("[");
  while (!current().is_operator("]")) {
    if (!node->items.empty()) {
      expect_operator(",");
      if (current().is_operator("]")) break;
    }
    node->items.push_back(parse_expression());
  }
  expect_operator("]");
  return finish(std::move(node));
}

ExprPtr ExpressionParser::parse_dict() {
  ExprPtr node = make(Expr::kDict, current().line);
  expect_operator("{");
  while (!current().is_operator("}")) {
    if (!node->items.empty()) {
      expect_operator(",");
      if (current().is_operator("}")) break;
    }
    node->items.push_back(parse_expression());
    expect_operator(":");
    node->items.push_back(parse_expression());
  }
  expect_operator("}");
  return finish(std::move(node));
}

ExprPtr ExpressionParser::parse_tuple(const TupleOptions& options) {
  const Nesting nesting(this);
  ExprPtr node = make(Expr::kTuple, current().line);
  bool is_tuple = false;
  while (true) {
    if (!node->items.empty()) expect_operator(",");
    if (current().kind == Token::kVariableEnd || current().kind == Token::kBlockEnd ||
        current().is_operator(")") ||
        (!options.end_name.empty() && current().is_name(options.end_name))) {
      break;
    }
    node->items.push_back(options.with_conditional ? parse_conditional() : parse_or());
    if (!current().is_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (!node->items.empty()) return std::move(node->items[0]);
    if (!options.in_parentheses) {
      fail(current().line, "expected an expression, got {}", describe(current()));
    }
  }
  return finish(std::move(node));
}

ExprPtr ExpressionParser::parse_target(bool with_namespace, std::string_view end_name) {
  const Nesting nesting(this);
  ExprPtr tuple = make(Expr::kTuple, current().line);
  bool is_tuple = false;
  while (true) {
    if (!tuple->items.empty()) expect_operator(",");
    if (current().kind == Token::kBlockEnd || current().is_operator(")") ||
        (!end_name.empty() && current().is_name(end_name))) {
      break;
    }
    ExprPtr item;
    if (skip_operator("(")) {
      item = parse_target(false);
      expect_operator(")");
    } else {
      item = parse_primary(with_namespace);
      if (item->kind != Expr::kName && item->kind != Expr::kNsRef) {
        fail(item->line, "cannot assign to an expression");
      }
    }
    tuple->items.push_back(std::move(item));
    if (!current().is_operator(",")) break;
    is_tuple = true;
  }
  if (tuple->items.empty()) {
    fail(current().line, "expected a name, got {}", describe(current()));
  }
  return is_tuple ? finish(std::move(tuple)) : std::move(tuple->items[0]);
}

ExprPtr ExpressionParser::parse_postfix(ExprPtr node) {
  while (true) {
    if (current().is_operator(".") || current().is_operator("[")) {
      node = parse_subscript(std::move(node));
    } else if (current().is_operator("(")) {
      node = parse_call(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr ExpressionParser::parse_subscript(ExprPtr node) {
  const int line = current().line;
  if (skip_operator(".")) {
    const Token& attribute = advance();
    if (attribute.kind == Token::kName) {
      node = make(Expr::kAttribute, line, std::move(node));
      node->name = attribute.text;
      node->value = Value::literal(attribute.text);
      return node;
    }
    if (attribute.kind != Token::kInteger) fail(attribute.line, "expected a name or a number");
    ExprPtr index = make(Expr::kConst, line);
    index->value = Value::integer(attribute.integer);
    return make(Expr::kItem, line, std::move(node), std::move(index));
  }
  expect_operator("[");
  if (current().is_operator("]")) {  // an empty tuple as the key
    advance();
    return make(Expr::kItem, line, std::move(node), make(Expr::kTuple, line));
  }
  ExprPtr result = parse_subscribed(std::move(node));
  if (!current().is_operator(",")) {
    expect_operator("]");
    return result;
  }
  if (result->kind != Expr::kItem) fail(line, "a slice cannot be part of a tuple");
  ExprPtr tuple = make(Expr::kTuple, line);
  tuple->items.push_back(std::move(result->items[1]));
  while (skip_operator(",")) tuple->items.push_back(parse_expression());
  expect_operator("]");
  return make(Expr::kItem, line, std::move(result->items[0]), finish(std::move(tuple)));
}

ExprPtr ExpressionParser::parse_subscribed(ExprPtr node) {
  const int line = current().line;
  const auto ends = [&] {
    return current().is_operator("]") || current().is_operator(",") || current().is_operator(":");
  };
  ExprPtr start;
  if (!current().is_operator(":")) {
    start = parse_expression();
    if (!current().is_operator(":")) {
      return make(Expr::kItem, line, std::move(node), std::move(start));
    }
  }
  expect_operator(":");
  ExprPtr stop, step;
  if (!ends()) stop = parse_expression();
  if (skip_operator(":") && !ends()) step = parse_expression();
  return make(Expr::kSlice, line, std::move(node), std::move(start), std::move(stop),
              std::move(step));
}

void ExpressionParser::parse_call_args(CallArgs* args) {
  const int line = current().line;
  const auto ensure = [&](bool allowed) {
    if (!allowed) fail(line, "invalid order of the arguments of a call");
  };
  expect_operator("(");
  bool first = true;
  while (!current().is_operator(")")) {
    if (!first) {
      expect_operator(",");
      if (current().is_operator(")")) break;
    }
    first = false;
    if (skip_operator("*")) {
      ensure(!args->star && !args->star_star);
      args->star = parse_expression();
    } else if (skip_operator("**")) {
      ensure(!args->star_star);
      args->star_star = parse_expression();
    } else if (current().kind == Token::kName && ahead().is_operator("=")) {
      ensure(!args->star_star);
      std::string name = advance().text;
      advance();
      for (const auto& [other, value] : args->named) {
        if (other == name) fail(line, "the argument '{}' is given twice", name);
      }
      args->named.emplace_back(std::move(name), parse_expression());
    } else {
      ensure(!args->star && !args->star_star && args->named.empty());
      args->positional.push_back(parse_expression());
    }
  }
  expect_operator(")");
}

ExprPtr ExpressionParser::parse_call(ExprPtr callee) {
  ExprPtr node = make(Expr::kCall, current().line);
  node->items.push_back(std::move(callee));
  parse_call_args(&node->args);
  return finish(std::move(node));
}

ExprPtr ExpressionParser::parse_filters(ExprPtr node, bool first_is_inline) {
  while (first_is_inline || skip_operator("|")) {
    first_is_inline = false;
    ExprPtr filter = make(Expr::kFilter, current().line);
    filter->name = expect_identifier();
    while (skip_operator(".")) filter->name += fmt::format(".{}", expect_identifier());
    filter->items.push_back(std::move(node));
    if (!find_filter(filter->name) && !in_condition_) {
      unknown_.push_back({filter->line, fmt::format("no filter named '{}'", filter->name)});
    }
    if (current().is_operator("(")) parse_call_args(&filter->args);
    node = finish(std::move(filter));
  }
  return node;
}

ExprPtr ExpressionParser::parse_test(ExprPtr node) {
  ExprPtr test = make(Expr::kTest, advance().line);
  const bool negated = skip_name("not");
  test->name = expect_identifier();
  while (skip_operator(".")) test->name += fmt::format(".{}", expect_identifier());
  test->items.push_back(std::move(node));
  if (!find_test(test->name) && !in_condition_) {
    unknown_.push_back({test->line, fmt::format("no test named '{}'", test->name)});
  }
  const Token& next = current();
  if (next.is_operator("(")) {
    parse_call_args(&test->args);
  } else if ((next.kind == Token::kName && !next.is_name("else") && !next.is_name("or") &&
              !next.is_name("and")) ||
             next.kind == Token::kString || next.kind == Token::kInteger ||
             next.kind == Token::kFloat || next.is_operator("[") || next.is_operator("{")) {
    if (next.is_name("is")) fail(next.line, "tests cannot be chained with 'is'");
    test->args.positional.push_back(parse_postfix(parse_primary(false)));
  }
  test = finish(std::move(test));
  if (!negated) return test;
  const int line = test->line;
  return make(Expr::kNot, line, std::move(test));
}

}  // namespace flashmoe::text::jinja
