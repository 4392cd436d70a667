// Filters on lists, dicts and other things that can be looped over.
#include <algorithm>
#include <iterator>
#include <unordered_set>

#include "text/jinja/filters.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/string_methods.h"
#include "text/jinja/tests.h"

namespace flashmoe::text::jinja {
namespace {

// Reads "a.b.0" from values; an attribute that is not a string is a key of its own.
class AttributeGetter {
 public:
  AttributeGetter(Context& c, const Value* attribute, const Value* fallback = nullptr) {
    if (fallback) fallback_ = *fallback;
    if (!attribute || attribute->is(Type::kNone)) return;
    if (!attribute->is(Type::kString)) {
      parts_.push_back(*attribute);
      return;
    }
    for (const Value& part : split(c, *attribute, ".", -1, false)) {
      const std::string& text = part.text();
      const bool is_index =
          !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
      const auto index = is_index ? parse_integer(text, 10) : std::nullopt;
      parts_.push_back(index ? Value::integer(*index) : part);
    }
  }

  Value operator()(Context& c, Value item) const {
    for (const Value& part : parts_) {
      item = get_item(c, item, part);
      if (fallback_ && item.is(Type::kUndefined)) item = *fallback_;
    }
    return item;
  }
  uint32_t depth() const { return fallback_ ? fallback_->depth() : 0; }

 private:
  std::vector<Value> parts_;
  std::optional<Value> fallback_;
};

Value ignore_case(Context& c, const Value& v, bool case_sensitive) {
  return !case_sensitive && v.is(Type::kString) ? lower(c, v) : v;
}

struct Keyed {
  std::vector<Value> keys;
  Value value;
  bool as_list = false;  // the keys are compared as a list; else there is one, compared as it is
};

void sort_keyed(Context& c, std::vector<Keyed>* items, bool reverse) {
  const auto key_less = [&](const Keyed& a, const Keyed& b) {
    c.charge(16);
    if (!a.as_list) return less(c, a.keys[0], b.keys[0]);
    for (size_t i = 0; i < a.keys.size(); ++i) {
      // As Python compares lists: the first unequal pair decides.
      if (!equal(c, a.keys[i], b.keys[i])) return less(c, a.keys[i], b.keys[i]);
    }
    return false;
  };
  std::stable_sort(items->begin(), items->end(), [&](const Keyed& a, const Keyed& b) {
    return reverse ? key_less(b, a) : key_less(a, b);
  });
}

Value filter_length(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "length", args, {});
  const auto size = length(c, v);
  if (!size) c.fail("a {} has no length", type_name(v));
  return Value::integer(*size);
}

Value filter_list(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "list", args, {});
  return make_list(c, to_vector(c, v));
}

Value filter_first(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "first", args, {});
  Value item;
  if (iterate(c, v)(c, &item)) return item;
  return Value::undefined("No first item, sequence was empty.");
}

void fail_not_reversible(Context& c, const Value& v) {
  c.fail("a {} cannot be reversed", type_name(v));
}

Value filter_last(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "last", args, {});
  if (v.is(Type::kIterator) || v.is(Type::kObject)) fail_not_reversible(c, v);
  if (v.is_sequence()) {
    if (!v.items().empty()) return v.items().back();
  } else {
    const std::vector<Value> items = to_vector(c, v);
    if (!items.empty()) return items.back();
  }
  return Value::undefined("No last item, sequence was empty.");
}

Value filter_random(Context& c, const Value&, const Args&) {
  c.fail("random is not supported: a prompt must be the same each time");
}

Value filter_reverse(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "reverse", args, {});
  if (v.is(Type::kString)) {
    return slice(c, v, Value::none(true), Value::none(true), Value::integer(-1));
  }
  std::vector<Value> items = to_vector(c, v);
  std::reverse(items.begin(), items.end());
  if (v.is(Type::kIterator)) return make_list(c, std::move(items));
  const Value reversed = make_list(c, std::move(items));
  return make_iterator(c, "reversed object", reversed.depth(), iterate(c, reversed));
}

Value filter_default(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "default", args, {"default_value", "boolean"});
  if (v.is(Type::kUndefined) || (p.flag(1, false) && !truth(c, v))) {
    return p[0] ? *p[0] : Value::literal("");
  }
  return v;
}

Value filter_attr(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "attr", args, {"name"}, 1);
  if (!p.string(0)) c.fail("attr needs a name");
  const auto found = find_attribute(c, v, p[0]->text());
  return found ? *found
               : Value::undefined(
                     fmt::format("'{} object' has no attribute '{}'", type_name(v), p[0]->text()));
}

Value filter_join(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "join", args, {"d", "attribute"});
  const AttributeGetter get(c, p[1]);
  const Value separator = p[0] ? to_str(c, *p[0]) : Value::literal("");
  std::vector<Value> strings;
  const Iteration next = iterate(c, v);
  for (Value item; next(c, &item);) strings.push_back(to_str(c, get(c, item)));
  return join(c, separator, strings);
}

Value filter_items(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "items", args, {});
  if (v.is(Type::kUndefined))
    return make_iterator(c, "generator object do_items", 0, iterate(c, v));
  return make_iterator(c, "generator object do_items", v.depth() + 1,
                       [v, pass = Iteration()](Context& context, Value* item) mutable {
                         if (!v.is(Type::kDict)) {
                           context.fail("items needs a mapping, not a {}", type_name(v));
                         }
                         if (!pass) {
                           pass = iterate(context,
                                          call(context, *find_method(context, v, "items"), {}));
                         }
                         return pass(context, item);
                       });
}

Value filter_dictsort(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "dictsort", args, {"case_sensitive", "by", "reverse"});
  const bool case_sensitive = p.flag(0, false);
  const std::string by = p.string(1) ? p.string(1)->text() : "key";
  if (by != "key" && by != "value") c.fail("dictsort sorts by 'key' or 'value'");
  if (!v.is(Type::kDict)) {
    if (v.is(Type::kUndefined)) c.fail("{}", v.undefined().message);
    c.fail("dictsort needs a mapping, not a {}", type_name(v));
  }
  std::vector<Keyed> items;
  for (const auto& entry : v.dict().entries()) {
    const Value& key = by == "key" ? entry.key : entry.value;
    items.push_back(
        {{ignore_case(c, key, case_sensitive)}, make_tuple(c, {entry.key, entry.value}, v.own())});
  }
  sort_keyed(c, &items, p.integer(2, 0) != 0);
  std::vector<Value> out;
  for (Keyed& item : items) out.push_back(std::move(item.value));
  return make_list(c, std::move(out));
}

Value filter_sort(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "sort", args, {"reverse", "case_sensitive", "attribute"});
  const bool case_sensitive = p.flag(1, false);
  std::vector<AttributeGetter> getters;
  if (p[2] && p[2]->is(Type::kString)) {
    for (const Value& name : split(c, *p[2], ",", -1, false)) getters.emplace_back(c, &name);
  } else {
    getters.emplace_back(c, p[2]);
  }
  std::vector<Keyed> items;
  for (const Value& item : to_vector(c, v)) {
    Keyed keyed{{}, item, true};
    for (const auto& get : getters)
      keyed.keys.push_back(ignore_case(c, get(c, item), case_sensitive));
    items.push_back(std::move(keyed));
  }
  sort_keyed(c, &items, p.integer(0, 0) != 0);
  std::vector<Value> out;
  for (Keyed& item : items) out.push_back(std::move(item.value));
  return make_list(c, std::move(out));
}

Value filter_unique(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "unique", args, {"case_sensitive", "attribute"});
  const AttributeGetter get(c, p[1]);
  auto seen = std::make_shared<DictObject>();
  return make_iterator(c, "generator object sync_do_unique", v.depth() + 1,
                       [get, seen, case_sensitive = p.flag(0, false), v, next = Iteration()](
                           Context& context, Value* item) mutable {
                         if (!next) next = iterate(context, v);
                         while (next(context, item)) {
                           const Value key =
                               ignore_case(context, get(context, *item), case_sensitive);
                           if (seen->find(context, key)) continue;
                           seen->set(context, key, Value());
                           return true;
                         }
                         return false;
                       });
}

Value extreme(Context& c, const Value& v, const Args& args, bool wants_max) {
  const Parameters p(c, wants_max ? "max" : "min", args, {"case_sensitive", "attribute"});
  const AttributeGetter get(c, p[1]);
  const bool case_sensitive = p.flag(0, false);
  std::optional<Value> best, best_key;
  const Iteration next = iterate(c, v);
  for (Value item; next(c, &item);) {
    const Value key = ignore_case(c, get(c, item), case_sensitive);
    if (best && !(wants_max ? less(c, *best_key, key) : less(c, key, *best_key))) continue;
    best = item;
    best_key = key;
  }
  return best ? *best : Value::undefined("No aggregated item, sequence was empty.");
}
Value filter_min(Context& c, const Value& v, const Args& args) {
  return extreme(c, v, args, false);
}
Value filter_max(Context& c, const Value& v, const Args& args) { return extreme(c, v, args, true); }

Value filter_sum(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "sum", args, {"attribute", "start"});
  const AttributeGetter get(c, p[0]);
  Value total = p[1] ? *p[1] : Value::integer(0);
  if (total.is(Type::kString)) c.fail("sum cannot add strings; use join");
  const Iteration next = iterate(c, v);
  for (Value item; next(c, &item);) total = binary(c, Expr::kAdd, total, get(c, item));
  return total;
}

Value filter_batch(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "batch", args, {"linecount", "fill_with"}, 1);
  const Value count = *p[0];
  const Value fill = p[1] ? *p[1] : Value::none(true);
  return make_iterator(
      c, "generator object do_batch", std::max(v.depth(), fill.depth()) + 1,
      [v, fill, count, next = Iteration(), ahead = std::vector<Value>()](Context& context,
                                                                         Value* out) mutable {
        if (!next) next = iterate(context, v);
        std::vector<Value> row = std::move(ahead);
        ahead.clear();
        for (Value item; next(context, &item);) {
          if (equal(context, Value::integer(static_cast<Int>(row.size())), count)) {
            ahead.push_back(item);
            break;
          }
          context.charge(48);
          row.push_back(item);
        }
        if (row.empty() && ahead.empty()) return false;
        if (ahead.empty() && !fill.is(Type::kNone)) {
          const Int wanted = to_integer(context, count);
          while (static_cast<Int>(row.size()) < wanted) {
            context.charge(48);
            row.push_back(fill);
          }
        }
        *out = make_list(context, std::move(row));
        return true;
      });
}

std::vector<Value> slices_of(Context& c, const Value& v, const Value& count, const Value& fill) {
  const std::vector<Value> items = to_vector(c, v);
  const Int slices = to_integer(c, count), size = static_cast<Int>(items.size());
  if (slices == 0) c.fail("division by zero");
  std::vector<Value> out;
  const Int each = slices > 0 ? size / slices : 0, extra = slices > 0 ? size % slices : 0;
  Int pos = 0;
  for (Int i = 0; i < slices; ++i) {
    const Int end = pos + each + (i < extra ? 1 : 0);
    std::vector<Value> part(items.begin() + static_cast<ptrdiff_t>(pos),
                            items.begin() + static_cast<ptrdiff_t>(end));
    if (!fill.is(Type::kNone) && i >= extra) part.push_back(fill);
    out.push_back(make_list(c, std::move(part)));
    pos = end;
  }
  return out;
}

Value filter_slice(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "slice", args, {"slices", "fill_with"}, 1);
  const Value fill = p[1] ? *p[1] : Value::none(true);
  return make_iterator(c, "generator object sync_do_slice", std::max(v.depth(), fill.depth()) + 1,
                       [v, fill, count = *p[0], parts = std::optional<std::vector<Value>>(),
                        i = size_t{0}](Context& context, Value* out) mutable {
                         if (!parts) parts = slices_of(context, v, count, fill);
                         if (i >= parts->size()) return false;
                         *out = (*parts)[i++];
                         return true;
                       });
}

Value filter_groupby(Context& c, const Value& v, const Args& args) {
  const Parameters p(c, "groupby", args, {"attribute", "default", "case_sensitive"}, 1);
  const AttributeGetter get(c, p[0], p.not_none(1));
  const bool case_sensitive = p.flag(2, false);
  std::vector<Keyed> items;
  for (const Value& item : to_vector(c, v)) {
    items.push_back({{ignore_case(c, get(c, item), case_sensitive)}, item});
  }
  sort_keyed(c, &items, false);
  std::vector<Value> groups;
  for (size_t i = 0; i < items.size();) {
    const Value key = items[i].keys[0];
    std::vector<Value> members;
    for (; i < items.size() && equal(c, items[i].keys[0], key); ++i) {
      members.push_back(items[i].value);
    }
    const Value grouper = get(c, members[0]);
    groups.push_back(make_group(c, grouper, make_list(c, std::move(members))));
  }
  return make_list(c, std::move(groups));
}

// A filter or a test that is given by name, with the rest of the arguments.
Args rest(const Args& args, size_t skip) {
  Args out;
  out.positional.assign(args.positional.begin() + static_cast<ptrdiff_t>(skip),
                        args.positional.end());
  out.named = args.named;
  return out;
}

uint32_t depth_of(const Args& args) {
  uint32_t depth = 0;
  for (const Value& value : args.positional) depth = std::max(depth, value.depth());
  for (const auto& [name, value] : args.named) depth = std::max(depth, value.depth());
  return depth;
}

using Transform = std::function<Value(Context&, const Value&)>;

Transform map_transform(Context& c, const Args& args) {
  if (args.positional.empty()) {
    const Value *attribute = nullptr, *fallback = nullptr;
    for (const auto& [name, value] : args.named) {
      if (name == "attribute") {
        attribute = &value;
      } else if (name == "default") {
        fallback = value.is(Type::kNone) ? nullptr : &value;
      } else {
        c.fail("map takes no argument '{}'", name);
      }
    }
    if (!attribute) c.fail("map needs the name of a filter");
    const AttributeGetter get(c, attribute, fallback);
    return [get](Context& context, const Value& item) { return get(context, item); };
  }
  const Value& name = args.positional[0];
  const Filter filter = name.is(Type::kString) ? find_filter(name.text()) : nullptr;
  if (!filter) c.fail("no filter named {}", repr(c, name));
  return [filter, arguments = rest(args, 1)](Context& context, const Value& item) {
    return filter(context, item, arguments);
  };
}

Value filter_map(Context& c, const Value& v, const Args& args) {
  const uint32_t depth = std::max(v.depth(), depth_of(args)) + 1;
  return make_iterator(
      c, "generator object sync_do_map", depth,
      [v, args, next = Iteration(), transform = Transform()](Context& context, Value* out) mutable {
        if (!next) {
          if (!truth(context, v)) return false;
          transform = map_transform(context, args);
          next = iterate(context, v);
        }
        Value item;
        if (!next(context, &item)) return false;
        *out = transform(context, item);
        return true;
      });
}

Transform select_transform(Context& c, const Args& args, bool by_attribute) {
  const size_t skip = by_attribute ? 1 : 0;
  if (args.positional.size() < skip) c.fail("the name of an attribute is missing");
  const AttributeGetter get(c, by_attribute ? &args.positional[0] : nullptr);
  if (args.positional.size() == skip) {
    return [get](Context& context, const Value& item) {
      return Value::boolean(truth(context, get(context, item)));
    };
  }
  const Value& name = args.positional[skip];
  const Test test = name.is(Type::kString) ? find_test(name.text()) : nullptr;
  if (!test) c.fail("no test named {}", repr(c, name));
  return [get, test, arguments = rest(args, skip + 1)](Context& context, const Value& item) {
    return Value::boolean(test(context, get(context, item), arguments));
  };
}

template <bool wanted, bool by_attribute>
Value filter_select(Context& c, const Value& v, const Args& args) {
  const uint32_t depth = std::max(v.depth(), depth_of(args)) + 1;
  return make_iterator(
      c, "generator object select_or_reject", depth,
      [v, args, next = Iteration(), passes = Transform()](Context& context, Value* item) mutable {
        if (!next) {
          if (!truth(context, v)) return false;
          passes = select_transform(context, args, by_attribute);
          next = iterate(context, v);
        }
        while (next(context, item)) {
          if (passes(context, *item).boolean() == wanted) return true;
        }
        return false;
      });
}

constexpr NamedFilter kFilters[] = {
    {"attr", filter_attr},
    {"batch", filter_batch},
    {"count", filter_length},
    {"d", filter_default},
    {"default", filter_default},
    {"dictsort", filter_dictsort},
    {"first", filter_first},
    {"groupby", filter_groupby},
    {"items", filter_items},
    {"join", filter_join},
    {"last", filter_last},
    {"length", filter_length},
    {"list", filter_list},
    {"map", filter_map},
    {"max", filter_max},
    {"min", filter_min},
    {"random", filter_random},
    {"reject", filter_select<false, false>},
    {"rejectattr", filter_select<false, true>},
    {"reverse", filter_reverse},
    {"select", filter_select<true, false>},
    {"selectattr", filter_select<true, true>},
    {"slice", filter_slice},
    {"sort", filter_sort},
    {"sum", filter_sum},
    {"unique", filter_unique},
};

}  // namespace

Filter find_sequence_filter(std::string_view name) {
  const auto* it =
      std::lower_bound(std::begin(kFilters), std::end(kFilters), name,
                       [](const NamedFilter& f, std::string_view n) { return f.name < n; });
  return it != std::end(kFilters) && it->name == name ? it->filter : nullptr;
}

}  // namespace flashmoe::text::jinja
