#include "text/jinja/value.h"

#include <cmath>

#include "text/jinja/text_builder.h"
#include "text/utf8.h"

namespace flashmoe::text::jinja {
namespace {

constexpr uint64_t kValueWork = 48;  // about the bytes of a Value

int compare_numbers(const Value& a, const Value& b) {  // 2: unordered
  if (a.is(Type::kFloat) || b.is(Type::kFloat)) {
    const double x = a.real(), y = b.real();
    return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
  }
  return a.integer() < b.integer() ? -1 : a.integer() > b.integer() ? 1 : 0;
}

bool equal_dicts(Context& context, const DictObject& a, const DictObject& b) {
  if (a.size() != b.size()) return false;
  for (const auto& entry : a.entries()) {
    const Value* other = b.find(context, entry.key);
    if (!other || !equal(context, entry.value, *other)) return false;
  }
  return true;
}

uint32_t deepest(const std::vector<Value>& items) {
  uint32_t depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth;
}

Value view_item(Context& context, const ViewObject& view, const DictObject::Entry& entry) {
  if (view.kind == ViewObject::kKeys) return entry.key;
  if (view.kind == ViewObject::kValues) return entry.value;
  return make_tuple(context, {entry.key, entry.value}, view.dict.own());
}

}  // namespace

Value Value::boolean(bool b, bool own) {
  Value v = integer(b, own);
  v.type_ = Type::kBool;
  return v;
}

Value Value::integer(Int i, bool own) {
  Value v;
  v.type_ = Type::kInt;
  v.own_ = own;
  v.number_.i = i;
  return v;
}

Value Value::real(double f, bool own) {
  Value v;
  v.type_ = Type::kFloat;
  v.own_ = own;
  v.number_.f = f;
  return v;
}

Value Value::undefined(std::string message) {
  auto object = std::make_shared<UndefinedObject>();
  object->message = std::move(message);
  return Value(Type::kUndefined, std::move(object));
}

Value Value::literal(std::string text) {
  MarkedText marked;
  if (!text.empty()) marked.from_template.push_back({0, text.size()});
  marked.text = std::move(text);
  return string(std::move(marked));
}

Value Value::string(MarkedText text, bool markup) {
  auto object = std::make_shared<StringObject>();
  object->text = std::move(text);
  object->markup = markup;
  return Value(Type::kString, std::move(object));
}

Value Args::name_value(const std::string& name) const {
  if (own_names) return Value::literal(name);
  MarkedText text;
  text.text = name;
  return Value::string(std::move(text));
}

const Value* DictObject::find(Context& context, size_t hash, const Value& key) const {
  const auto [begin, end] = index_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    if (equal(context, entries_[it->second].key, key)) return &entries_[it->second].value;
  }
  return nullptr;
}

const Value* DictObject::find(Context& context, const Value& key) const {
  return find(context, hash(context, key), key);
}

const Value* DictObject::find(std::string_view key) const {
  const auto [begin, end] = index_.equal_range(std::hash<std::string_view>()(key));
  for (auto it = begin; it != end; ++it) {
    const Value& candidate = entries_[it->second].key;
    if (candidate.is(Type::kString) && candidate.text() == key) return &entries_[it->second].value;
  }
  return nullptr;
}

void DictObject::set(Context& context, const Value& key, Value value) {
  const size_t key_hash = hash(context, key);
  depth = nested_depth(context, std::max(depth - 1, std::max(key.depth(), value.depth())));
  if (const Value* old = find(context, key_hash, key)) {
    const_cast<Value&>(*old) = std::move(value);
    return;
  }
  context.charge(4 * kValueWork);
  index_.emplace(key_hash, entries_.size());
  entries_.push_back({key, std::move(value)});
}

Int RangeObject::size() const {
  if (step > 0) return start < stop ? (stop - start + step - 1) / step : 0;
  return start > stop ? (start - stop - step - 1) / -step : 0;
}

uint32_t nested_depth(Context& context, uint32_t inner_depth) {
  if (inner_depth >= kMaxValueDepth) context.fail("values nest more than {} deep", kMaxValueDepth);
  return inner_depth + 1;
}

Value make_list(Context& context, std::vector<Value> items, bool own) {
  context.charge((items.size() + 1) * kValueWork);
  auto list = std::make_shared<ListObject>();
  list->depth = nested_depth(context, deepest(items));
  list->items = std::move(items);
  return Value(Type::kList, std::move(list), own);
}

Value make_tuple(Context& context, std::vector<Value> items, bool own) {
  context.charge((items.size() + 1) * kValueWork);
  auto list = std::make_shared<ListObject>();
  list->depth = nested_depth(context, deepest(items));
  list->items = std::move(items);
  return Value(Type::kTuple, std::move(list), own);
}

Value make_group(Context& context, const Value& grouper, const Value& members) {
  auto list = std::make_shared<ListObject>();
  list->items = {grouper, members};
  list->depth = nested_depth(context, deepest(list->items));
  list->is_group = true;
  return Value(Type::kTuple, std::move(list));
}

Value make_dict(Context& context, std::shared_ptr<DictObject> dict, bool own) {
  context.charge(kValueWork);
  return Value(Type::kDict, std::move(dict), own);
}

Value make_iterator(Context& context, std::string name, uint32_t source_depth,
                    std::function<bool(Context&, Value*)> next) {
  context.charge(2 * kValueWork);
  auto object = std::make_shared<IteratorObject>();
  object->depth = nested_depth(context, source_depth);
  object->name = std::move(name);
  object->next = std::move(next);
  return Value(Type::kIterator, std::move(object));
}

Value make_function(Context& context, std::string name, uint32_t captured_depth,
                    std::function<Value(Context&, Args)> call) {
  context.charge(2 * kValueWork);
  auto object = std::make_shared<FunctionObject>();
  object->depth = nested_depth(context, captured_depth);
  object->name = std::move(name);
  object->call = std::move(call);
  return Value(Type::kFunction, std::move(object));
}

bool truth(Context& context, const Value& value) {
  switch (value.type()) {
    case Type::kUndefined:
    case Type::kNone:
      return false;
    case Type::kBool:
    case Type::kInt:
      return value.integer() != 0;
    case Type::kFloat:
      return value.real() != 0;
    default:
      break;
  }
  const auto size = length(context, value);
  return !size || *size != 0;
}

bool equal(Context& context, const Value& a, const Value& b) {
  context.charge(1);
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case Type::kUndefined:
    case Type::kNone:
      return true;
    case Type::kString:
      context.charge(std::min(a.text().size(), b.text().size()) / 16);
      return a.text() == b.text();
    case Type::kList:
    case Type::kTuple: {
      if (a.object() == b.object()) return true;
      if (a.items().size() != b.items().size()) return false;
      for (size_t i = 0; i < a.items().size(); ++i) {
        if (!equal(context, a.items()[i], b.items()[i])) return false;
      }
      return true;
    }
    case Type::kDict:
      return a.object() == b.object() || equal_dicts(context, a.dict(), b.dict());
    case Type::kRange: {
      const RangeObject &x = a.range(), &y = b.range();
      return x.size() == y.size() &&
             (x.size() == 0 || (x.start == y.start && (x.size() == 1 || x.step == y.step)));
    }
    default:
      return a.object() == b.object();
  }
}

bool less(Context& context, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == -1;
  if (a.is(Type::kUndefined)) context.fail("{}", a.undefined().message);
  if (b.is(Type::kUndefined)) context.fail("{}", b.undefined().message);
  if (a.is(Type::kString) && b.is(Type::kString)) return a.text() < b.text();
  if (a.is_sequence() && a.type() == b.type()) {
    const auto &x = a.items(), &y = b.items();
    for (size_t i = 0; i < x.size() && i < y.size(); ++i) {
      if (!equal(context, x[i], y[i])) return less(context, x[i], y[i]);
    }
    return x.size() < y.size();
  }
  context.fail("cannot compare a {} with a {}", type_name(a), type_name(b));
}

const char* type_name(const Value& value) {
  switch (value.type()) {
    case Type::kUndefined:
      return "Undefined";
    case Type::kNone:
      return "NoneType";
    case Type::kBool:
      return "bool";
    case Type::kInt:
      return "int";
    case Type::kFloat:
      return "float";
    case Type::kString:
      return value.string_object().markup ? "Markup" : "str";
    case Type::kList:
      return "list";
    case Type::kTuple:
      return "tuple";
    case Type::kDict:
      return "dict";
    case Type::kView: {
      const auto kind = value.view().kind;
      return kind == ViewObject::kKeys     ? "dict_keys"
             : kind == ViewObject::kValues ? "dict_values"
                                           : "dict_items";
    }
    case Type::kRange:
      return "range";
    case Type::kIterator:
      return "generator";
    case Type::kNamespace:
      return "Namespace";
    case Type::kFunction:
      return "function";
    case Type::kObject:
      return "object";
  }
  return "object";
}

size_t hash(Context& context, const Value& value) {
  context.charge(1);
  switch (value.type()) {
    case Type::kNone:
      return 0x9e3779b9;
    case Type::kUndefined:
      return 0x7f4a7c15;
    case Type::kBool:
    case Type::kInt:
      return std::hash<int64_t>()(static_cast<int64_t>(value.integer()));
    case Type::kFloat: {
      const double f = value.real();
      if (std::floor(f) == f && std::abs(f) < 9e18) {
        return std::hash<int64_t>()(static_cast<int64_t>(f));
      }
      return std::hash<double>()(f);
    }
    case Type::kString:
      context.charge(value.text().size() / 16);
      return std::hash<std::string_view>()(value.text());
    case Type::kTuple: {
      size_t combined = 17;
      for (const Value& item : value.items()) combined = combined * 1000003 + hash(context, item);
      return combined;
    }
    case Type::kList:
    case Type::kDict:
    case Type::kView:
      context.fail("a {} cannot be a key", type_name(value));
    default:
      return std::hash<const void*>()(value.object());
  }
}

bool is_iterable(const Value& value) {
  switch (value.type()) {
    case Type::kNone:
    case Type::kBool:
    case Type::kInt:
    case Type::kFloat:
    case Type::kNamespace:
    case Type::kFunction:
      return false;
    default:
      return true;
  }
}

Iteration iterate(Context& context, const Value& value) {
  switch (value.type()) {
    case Type::kUndefined:
      return [](Context&, Value*) { return false; };
    case Type::kString: {
      return [value, pos = size_t{0}](Context& c, Value* item) mutable {
        const MarkedText& text = value.marked();
        if (pos >= text.text.size()) return false;
        const size_t end = pos + utf8_length(static_cast<unsigned char>(text.text[pos]));
        *item = Value::string(substring(c, text, pos, end));
        pos = end;
        c.charge(kValueWork);
        return true;
      };
    }
    case Type::kList:
    case Type::kTuple:
      return [value, i = size_t{0}](Context& c, Value* item) mutable {
        if (i >= value.items().size()) return false;
        *item = value.items()[i++];
        c.charge(1);
        return true;
      };
    case Type::kDict:
      return [value, i = size_t{0}](Context& c, Value* item) mutable {
        if (i >= value.dict().size()) return false;
        *item = value.dict().entries()[i++].key;
        c.charge(1);
        return true;
      };
    case Type::kView:
      return [value, i = size_t{0}](Context& c, Value* item) mutable {
        const DictObject& dict = value.view().dict.dict();
        if (i >= dict.size()) return false;
        *item = view_item(c, value.view(), dict.entries()[i++]);
        return true;
      };
    case Type::kRange:
      return [value, i = Int{0}](Context& c, Value* item) mutable {
        if (i >= value.range().size()) return false;
        *item = Value::integer(value.range().at(i++), value.own());
        c.charge(1);
        return true;
      };
    case Type::kIterator:
      return [value](Context& c, Value* item) {
        const Context::Level level(c);
        return value.iterator().next(c, item);
      };
    case Type::kObject:
      return [value](Context& c, Value* item) { return value.attribute_object().next(c, item); };
    default:
      context.fail("a {} cannot be looped over", type_name(value));
  }
}

std::vector<Value> to_vector(Context& context, const Value& value) {
  if (value.is_sequence()) {
    context.charge((value.items().size() + 1) * kValueWork);
    return value.items();
  }
  std::vector<Value> out;
  const Iteration next = iterate(context, value);
  for (Value item; next(context, &item);) {
    context.charge(kValueWork);
    out.push_back(item);
  }
  return out;
}

std::optional<Int> length(Context& context, const Value& value) {
  switch (value.type()) {
    case Type::kUndefined:
      return 0;
    case Type::kString: {
      const std::string& text = value.text();
      context.charge(text.size() / 16);
      Int count = 0;
      for (const char c : text) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
      return count;
    }
    case Type::kList:
    case Type::kTuple:
      return static_cast<Int>(value.items().size());
    case Type::kDict:
      return static_cast<Int>(value.dict().size());
    case Type::kView:
      return static_cast<Int>(value.view().dict.dict().size());
    case Type::kRange:
      return value.range().size();
    case Type::kObject:
      return value.attribute_object().length(context);
    default:
      return std::nullopt;
  }
}

}  // namespace flashmoe::text::jinja
