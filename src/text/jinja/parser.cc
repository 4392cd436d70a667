#include "text/jinja/parser.h"

#include <algorithm>
#include <set>
#include <utility>

#include "text/jinja/expression_parser.h"

namespace flashmoe::text::jinja {
namespace {

template <typename T>
class Restore {  // sets a variable for a scope
 public:
  Restore(T* variable, T value) : variable_(variable), old_(*variable) { *variable = value; }
  ~Restore() { *variable_ = old_; }

 private:
  T* variable_;
  T old_;
};

class Parser : ExpressionParser {
 public:
  Parser(std::string source, const std::string& name) : ExpressionParser(std::move(source), name) {}

  Body run() {
    Body body = parse_body({});
    if (!unknown_.empty()) fail(unknown_[0].line, "{}", unknown_[0].message);
    return body;
  }

 private:
  using EndTags = std::vector<std::string_view>;

  StmtPtr make(Stmt::Kind kind, int line) {
    auto stmt = std::make_unique<Stmt>();
    stmt->kind = kind;
    stmt->line = line;
    return stmt;
  }

  // Until one of the end tags; the token after "{%" is then current. Without end tags, until the
  // end.
  Body parse_body(const EndTags& end_tags) {
    Body body;
    while (current().kind != Token::kEnd) {
      const int line = current().line;
      if (current().kind == Token::kData) {
        StmtPtr stmt = make(Stmt::kText, line);
        stmt->text = Value::literal(advance().text);
        body.push_back(std::move(stmt));
      } else if (current().kind == Token::kVariableBegin) {
        advance();
        StmtPtr stmt = make(Stmt::kOutput, line);
        stmt->exprs.push_back(parse_tuple({}));
        expect(Token::kVariableEnd);
        body.push_back(std::move(stmt));
      } else {
        expect(Token::kBlockBegin);
        for (const std::string_view tag : end_tags) {
          if (current().is_name(tag)) return body;
        }
        open_tags_.push_back(current().text);
        body.push_back(parse_statement());
        open_tags_.pop_back();
        expect(Token::kBlockEnd);
      }
    }
    if (!end_tags.empty()) {
      fail(current().line, "the template ends inside of '{}': expected '{}'", open_tags_.back(),
           fmt::join(end_tags, "' or '"));
    }
    return body;
  }

  // The rest of the opening tag, a body, and the name of the end tag.
  Body parse_block(const EndTags& end_tags) {
    limit_depth(++depth_, current().line);
    skip_operator(":");
    expect(Token::kBlockEnd);
    Body body = parse_body(end_tags);
    --depth_;
    return body;
  }

  // The body of a macro and the like: a function of its own.
  Body parse_function(Stmt* stmt, std::string_view end_tag) {
    const Restore<int> loops(&loop_depth_, 0);
    const Restore<bool> condition(&in_condition_, false);
    names_read_.emplace_back();
    Body body = parse_block({end_tag});
    advance();
    const std::set<std::string> names = std::move(names_read_.back());
    names_read_.pop_back();
    const auto reads = [&](const char* name) {
      return names.count(name) != 0 &&
             std::none_of(stmt->parameters.begin(), stmt->parameters.end(),
                          [&](const Parameter& p) { return p.name == name; });
    };
    for (const Parameter& parameter : stmt->parameters) {
      if (parameter.name == "caller" && names.count("caller") != 0 && !parameter.fallback) {
        fail(stmt->line, "the parameter 'caller' must have a default");
      }
    }
    stmt->uses_caller = reads("caller");
    stmt->uses_kwargs = reads("kwargs");
    stmt->uses_varargs = reads("varargs");
    return body;
  }

  StmtPtr parse_statement() {
    const int line = current().line;
    const std::string tag = expect_identifier();
    if (tag == "if") return parse_if(line);
    if (tag == "for") return parse_for(line);
    if (tag == "set") return parse_set(line);
    if (tag == "macro") return parse_macro(line);
    if (tag == "call") return parse_call_block(line);
    if (tag == "filter") return parse_filter_block(line);
    if (tag == "with") return parse_with(line);
    if (tag == "generation") {
      StmtPtr stmt = make(Stmt::kGeneration, line);
      stmt->bodies.push_back(parse_function(stmt.get(), "endgeneration"));
      return stmt;
    }
    if (tag == "block") return parse_named_block(line);
    if (tag == "print") return parse_print(line);
    if (tag == "break" || tag == "continue") {
      if (loop_depth_ == 0) fail(line, "'{}' outside of a loop", tag);
      return make(tag == "break" ? Stmt::kBreak : Stmt::kContinue, line);
    }
    if (tag == "include" || tag == "import" || tag == "extends" || tag == "from") {
      while (current().kind != Token::kBlockEnd && current().kind != Token::kEnd) advance();
      StmtPtr stmt = make(Stmt::kTemplate, line);
      stmt->name = tag;
      return stmt;
    }
    if (tag == "autoescape") fail(line, "'autoescape' is not supported");
    fail(line, "unknown tag '{}'", tag);
  }

  StmtPtr parse_if(int line) {
    const Restore<bool> condition(&in_condition_, true);
    StmtPtr stmt = make(Stmt::kIf, line);
    TupleOptions options;
    options.with_conditional = false;
    while (true) {
      stmt->exprs.push_back(parse_tuple(options));
      stmt->bodies.push_back(parse_block({"elif", "else", "endif"}));
      const std::string tag = advance().text;
      if (tag == "endif") break;
      if (tag == "elif") continue;
      stmt->bodies.push_back(parse_block({"endif"}));
      advance();
      break;
    }
    return stmt;
  }

  StmtPtr parse_for(int line) {
    const Restore<bool> condition(&in_condition_, false);
    StmtPtr stmt = make(Stmt::kFor, line);
    stmt->target = parse_target(false, "in");
    refuse_loop(*stmt->target);
    expect_name("in");
    TupleOptions options;
    options.with_conditional = false;
    options.end_name = "recursive";
    stmt->exprs.push_back(parse_tuple(options));
    if (skip_name("if")) stmt->exprs.push_back(parse_expression());
    stmt->flag = skip_name("recursive");
    {
      const Restore<int> loops(&loop_depth_, stmt->flag ? 1 : loop_depth_ + 1);
      const Restore<int> inside(&inside_for_, inside_for_ + 1);
      stmt->bodies.push_back(parse_block({"endfor", "else"}));
    }
    if (advance().text == "else") {
      const Restore<int> inside(&inside_for_, inside_for_ + 1);
      const Restore<int> loops(&loop_depth_, stmt->flag ? 0 : loop_depth_);
      stmt->bodies.push_back(parse_block({"endfor"}));
      advance();
    }
    return stmt;
  }

  // jinja2 refuses to set `loop` anywhere inside of a for.
  void refuse_loop(const Expr& target) {
    if (target.kind == Expr::kName && target.name == "loop") {
      fail(target.line, "cannot assign to the special variable 'loop'");
    }
    for (const auto& item : target.items) refuse_loop(*item);
  }

  StmtPtr parse_set(int line) {
    StmtPtr stmt = make(Stmt::kSet, line);
    stmt->target = parse_target(true);
    if (inside_for_ > 0) refuse_loop(*stmt->target);
    if (skip_operator("=")) {
      stmt->exprs.push_back(parse_tuple({}));
      return stmt;
    }
    stmt->kind = Stmt::kSetBlock;
    if (current().is_operator("|")) stmt->exprs.push_back(parse_filters(nullptr, false));
    const Restore<bool> condition(&in_condition_, false);
    stmt->bodies.push_back(parse_block({"endset"}));
    advance();
    return stmt;
  }

  void parse_parameters(Stmt* stmt) {
    expect_operator("(");
    while (!current().is_operator(")")) {
      if (!stmt->parameters.empty()) expect_operator(",");
      Parameter parameter;
      const int line = current().line;
      parameter.name = expect_identifier();
      for (const Parameter& other : stmt->parameters) {
        if (other.name == parameter.name) fail(line, "two parameters are named '{}'", other.name);
      }
      if (skip_operator("=")) {
        parameter.fallback = parse_expression();
      } else if (!stmt->parameters.empty() && stmt->parameters.back().fallback) {
        fail(line, "a parameter without default follows one with a default");
      }
      stmt->parameters.push_back(std::move(parameter));
    }
    expect_operator(")");
  }

  StmtPtr parse_macro(int line) {
    StmtPtr stmt = make(Stmt::kMacro, line);
    stmt->name = expect_identifier();
    parse_parameters(stmt.get());
    stmt->bodies.push_back(parse_function(stmt.get(), "endmacro"));
    return stmt;
  }

  StmtPtr parse_call_block(int line) {
    StmtPtr stmt = make(Stmt::kCallBlock, line);
    if (current().is_operator("(")) parse_parameters(stmt.get());
    stmt->exprs.push_back(parse_expression());
    if (stmt->exprs[0]->kind != Expr::kCall) fail(line, "expected a call");
    stmt->bodies.push_back(parse_function(stmt.get(), "endcall"));
    return stmt;
  }

  StmtPtr parse_filter_block(int line) {
    StmtPtr stmt = make(Stmt::kFilter, line);
    const Restore<bool> condition(&in_condition_, false);
    stmt->exprs.push_back(parse_filters(nullptr, true));
    stmt->bodies.push_back(parse_block({"endfilter"}));
    advance();
    return stmt;
  }

  StmtPtr parse_with(int line) {
    StmtPtr stmt = make(Stmt::kWith, line);
    while (current().kind != Token::kBlockEnd) {
      if (!stmt->exprs.empty()) expect_operator(",");
      stmt->exprs.push_back(parse_target(false));
      expect_operator("=");
      stmt->exprs.push_back(parse_expression());
    }
    const Restore<bool> condition(&in_condition_, false);
    stmt->bodies.push_back(parse_block({"endwith"}));
    advance();
    return stmt;
  }

  StmtPtr parse_named_block(int line) {
    StmtPtr stmt = make(Stmt::kBlock, line);
    stmt->name = expect_identifier();
    stmt->flag = skip_name("scoped");
    const bool required = skip_name("required");
    if (!blocks_.insert(stmt->name).second) fail(line, "block '{}' defined twice", stmt->name);
    stmt->bodies.push_back(parse_function(stmt.get(), "endblock"));
    for (const auto& inner : stmt->bodies[0]) {
      if (required && (inner->kind != Stmt::kText ||
                       inner->text.text().find_first_not_of(" \t\n\r\v\f") != std::string::npos)) {
        fail(line, "required blocks can only contain comments or white space");
      }
    }
    skip_name(stmt->name);
    return stmt;
  }

  StmtPtr parse_print(int line) {
    StmtPtr stmt = make(Stmt::kOutput, line);
    while (current().kind != Token::kBlockEnd) {
      if (!stmt->exprs.empty()) expect_operator(",");
      stmt->exprs.push_back(parse_expression());
    }
    return stmt;
  }

  std::vector<std::string> open_tags_;
  std::set<std::string> blocks_;
  int depth_ = 0;
  int loop_depth_ = 0;  // of loops that break and continue reach
  int inside_for_ = 0;
};

}  // namespace

Body parse_template(std::string source, const std::string& name) {
  return Parser(std::move(source), name).run();
}

}  // namespace flashmoe::text::jinja
