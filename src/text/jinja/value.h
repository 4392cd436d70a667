// The values of the template language: Python's, as far as a template can tell. Values are cheap to
// copy and, but for namespaces and counters, immutable. Owns representation, truth, equality, order
// and hashing; printing is in print.h, attributes and operators in operators.h.
//
// Marking. A string carries the marks of its bytes. Every other value has one mark, `own`: true for
// what the template made, false for what came from the variables and what arithmetic made of that.
// The mark decides whose text the value is when it is printed: `loop.index` is the template's, a
// number in a tool's arguments is the message's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/jinja/context.h"
#include "text/marked_text.h"

namespace flashmoe::text::jinja {

__extension__ typedef __int128 Int;  // Python's are unbounded; going past these is refused

enum class Type : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kView,  // keys(), values() or items() of a dict
  kRange,
  kIterator,  // passes over its items once
  kNamespace,
  kFunction,
  kObject,  // with attributes of its own: loop, cycler
};

struct Object {
  virtual ~Object() = default;
  uint32_t depth = 1;  // 1 + the deepest value inside
};

struct UndefinedObject;
struct StringObject;
struct ListObject;
struct DictObject;
struct ViewObject;
struct RangeObject;
struct IteratorObject;
struct NamespaceObject;
struct FunctionObject;
struct AttributeObject;

class Value {
 public:
  Value() = default;  // None of the template's
  Value(Type type, std::shared_ptr<const Object> object, bool own = true)
      : type_(type), own_(own), object_(std::move(object)) {}
  static Value boolean(bool b, bool own = true);
  static Value integer(Int i, bool own = true);
  static Value real(double f, bool own = true);
  static Value none(bool own) {
    Value v;
    v.own_ = own;
    return v;
  }
  static Value undefined(std::string message);
  static Value literal(std::string text);  // the template's
  static Value string(MarkedText text, bool markup = false);

  Type type() const { return type_; }
  bool is(Type type) const { return type_ == type; }
  bool own() const { return own_; }
  void set_own(bool own) { own_ = own; }
  bool is_number() const { return is(Type::kInt) || is(Type::kFloat) || is(Type::kBool); }
  bool is_integral() const { return is(Type::kInt) || is(Type::kBool); }
  bool is_sequence() const { return is(Type::kList) || is(Type::kTuple); }

  bool boolean() const { return number_.i != 0; }
  Int integer() const { return number_.i; }  // of an integer or a boolean
  double real() const { return is(Type::kFloat) ? number_.f : static_cast<double>(number_.i); }

  const UndefinedObject& undefined() const;
  const StringObject& string_object() const;
  const MarkedText& marked() const;
  const std::string& text() const;  // of a string
  const std::vector<Value>& items() const;
  const DictObject& dict() const;
  const ViewObject& view() const;
  const RangeObject& range() const;
  IteratorObject& iterator() const;
  NamespaceObject& name_space() const;
  const FunctionObject& function() const;
  AttributeObject& attribute_object() const;
  const Object* object() const { return object_.get(); }
  uint32_t depth() const { return object_ ? object_->depth : 0; }

 private:
  Type type_ = Type::kNone;
  bool own_ = true;
  union {
    Int i;
    double f;
  } number_ = {0};
  std::shared_ptr<const Object> object_;
};

struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
  // False when some names are a message's: they come from **mapping.
  bool own_names = true;
  Value name_value(const std::string& name) const;
};

struct UndefinedObject : Object {
  std::string message;
};

struct StringObject : Object {
  MarkedText text;
  bool markup = false;  // made by |safe or |escape: joining it with other strings escapes those
};

struct ListObject : Object {
  std::vector<Value> items;
  bool is_group = false;  // made by groupby: a pair that also has the names grouper and list
};

size_t hash(Context& context, const Value& value);  // refuses what Python cannot hash
bool equal(Context& context, const Value& a, const Value& b);

// Keeps the order of insertion.
struct DictObject : Object {
  struct Entry {
    Value key;
    Value value;
  };
  const std::vector<Entry>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  const Value* find(Context& context, const Value& key) const;
  const Value* find(std::string_view key) const;
  // An existing key stays, with its mark and place, and gets the new value.
  void set(Context& context, const Value& key, Value value);

 private:
  const Value* find(Context& context, size_t hash, const Value& key) const;
  std::vector<Entry> entries_;
  std::unordered_multimap<size_t, size_t> index_;
};

struct ViewObject : Object {
  enum Kind { kKeys, kValues, kItems };
  Kind kind = kKeys;
  Value dict;
};

// Of a range's start, stop and step, so that its arithmetic cannot overflow.
inline constexpr Int kMaxRangeBound = Int{1} << 64;

struct RangeObject : Object {
  Int start = 0, stop = 0, step = 1;
  Int size() const;
  Int at(Int i) const { return start + i * step; }
};

struct IteratorObject : Object {
  std::function<bool(Context&, Value*)> next;
  std::string name;  // as Python prints it: "generator object sync_do_map"
};

struct NamespaceObject : Object {
  DictObject attributes;
};

struct FunctionObject : Object {
  std::string name;  // as Python prints it, without the address
  std::function<Value(Context&, Args)> call;
  std::vector<std::pair<std::string, Value>> attributes;  // of a macro
};

// A value with attributes that are computed.
struct AttributeObject : Object {
  virtual std::optional<Value> attribute(Context& context, std::string_view name) = 0;
  virtual std::string print(Context& context) = 0;
  virtual Value call(Context& context, Args args) = 0;
  virtual bool callable() const = 0;
  virtual std::optional<Int> length(Context& context) = 0;
  virtual bool next(Context& context, Value* item) = 0;  // for those that can be looped over
};

inline const UndefinedObject& Value::undefined() const {
  return static_cast<const UndefinedObject&>(*object_);
}
inline const StringObject& Value::string_object() const {
  return static_cast<const StringObject&>(*object_);
}
inline const MarkedText& Value::marked() const { return string_object().text; }
inline const std::string& Value::text() const { return marked().text; }
inline const std::vector<Value>& Value::items() const {
  return static_cast<const ListObject&>(*object_).items;
}
inline const DictObject& Value::dict() const { return static_cast<const DictObject&>(*object_); }
inline const ViewObject& Value::view() const { return static_cast<const ViewObject&>(*object_); }
inline const RangeObject& Value::range() const { return static_cast<const RangeObject&>(*object_); }
inline IteratorObject& Value::iterator() const {
  return const_cast<IteratorObject&>(static_cast<const IteratorObject&>(*object_));
}
inline NamespaceObject& Value::name_space() const {
  return const_cast<NamespaceObject&>(static_cast<const NamespaceObject&>(*object_));
}
inline const FunctionObject& Value::function() const {
  return static_cast<const FunctionObject&>(*object_);
}
inline AttributeObject& Value::attribute_object() const {
  return const_cast<AttributeObject&>(static_cast<const AttributeObject&>(*object_));
}

// These charge for what they make, and refuse to nest too deeply.
Value make_list(Context& context, std::vector<Value> items, bool own = true);
Value make_tuple(Context& context, std::vector<Value> items, bool own = true);
Value make_group(Context& context, const Value& grouper, const Value& members);
Value make_dict(Context& context, std::shared_ptr<DictObject> dict, bool own = true);
Value make_iterator(Context& context, std::string name, uint32_t source_depth,
                    std::function<bool(Context&, Value*)> next);
Value make_function(Context& context, std::string name, uint32_t captured_depth,
                    std::function<Value(Context&, Args)> call);
uint32_t nested_depth(Context& context, uint32_t inner_depth);

bool truth(Context& context, const Value& value);
// a < b, where Python can order them.
bool less(Context& context, const Value& a, const Value& b);
const char* type_name(const Value& value);

// A pass over the items of anything that can be looped over. Those of a string are its characters.
using Iteration = std::function<bool(Context&, Value*)>;
Iteration iterate(Context& context, const Value& value);
bool is_iterable(const Value& value);
std::vector<Value> to_vector(Context& context, const Value& value);
// len(value); nothing for what has no length.
std::optional<Int> length(Context& context, const Value& value);

}  // namespace flashmoe::text::jinja
