// The syntax tree of a template. Plain data, made by the parser, walked by the interpreter.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace flashmoe::text::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct CallArgs {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star;       // *args
  ExprPtr star_star;  // **kwargs
};

struct Expr {
  enum Kind {
    kConst,      // value
    kName,       // name
    kNsRef,      // name.attribute as a target of set: name, text
    kTuple,      // items
    kList,       // items
    kDict,       // items: key, value, key, value, ...
    kAttribute,  // items[0].name
    kItem,       // items[0][items[1]]
    kSlice,      // items[0][items[1]:items[2]:items[3]]; null where left out
    kCall,       // items[0](args)
    kFilter,     // items[0]|name(args); items[0] is null for the text of a filter block
    kTest,       // items[0] is name(args)
    kNot,        // items[0]
    kNegate,     // items[0]
    kPlus,       // items[0]
    kAdd,        // items[0], items[1]; so do the other operators of two
    kSubtract,
    kMultiply,
    kDivide,
    kFloorDivide,
    kModulo,
    kPower,
    kAnd,
    kOr,
    kCompare,      // items[0] operators[0] items[1] operators[1] items[2] ...
    kConcat,       // items
    kConditional,  // items[0] if items[1] else items[2], which may be null
  };
  enum Operator { kEq, kNe, kLt, kLe, kGt, kGe, kIn, kNotIn };

  Kind kind = kConst;
  int line = 1;
  int depth = 1;  // 1 + the deepest node inside
  std::string name;
  std::string text;
  Value value;
  std::vector<ExprPtr> items;
  std::vector<Operator> operators;
  CallArgs args;
};

struct Stmt;
using StmtPtr = std::unique_ptr<Stmt>;
using Body = std::vector<StmtPtr>;

struct Parameter {
  std::string name;
  ExprPtr fallback;  // null: none
};

struct Stmt {
  enum Kind {
    kText,        // text
    kOutput,      // exprs
    kIf,          // exprs[i] ? bodies[i] : ...; one more body than exprs is the else
    kFor,         // target in exprs[0] [if exprs[1]]: bodies[0], else bodies[1]; flag: recursive
    kSet,         // target = exprs[0]
    kSetBlock,    // target = bodies[0], through the filters exprs[0] if there are any
    kMacro,       // name(parameters): bodies[0]
    kCallBlock,   // exprs[0], a call, with caller(parameters): bodies[0]
    kFilter,      // exprs[0] applied to bodies[0]
    kWith,        // exprs: target, value, target, value, ...; bodies[0]
    kGeneration,  // bodies[0]: what the model writes
    kBlock,       // name, bodies[0]; flag: scoped
    kBreak,
    kContinue,
    kTemplate,  // a tag that loads another template: there are none
  };

  Kind kind = kText;
  int line = 1;
  int depth = 1;
  bool flag = false;
  bool uses_caller = false, uses_kwargs = false, uses_varargs = false;  // of a macro's body
  std::string name;
  Value text;
  ExprPtr target;
  std::vector<ExprPtr> exprs;
  std::vector<Parameter> parameters;
  std::vector<Body> bodies;
};

}  // namespace flashmoe::text::jinja
