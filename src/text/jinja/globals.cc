#include "text/jinja/globals.h"

#include <array>
#include <ctime>

#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/text_builder.h"

namespace flashmoe::text::jinja {
namespace {

constexpr Int kMaxRangeSize = 100000;  // of jinja2's sandbox

Value global_range(Context& context, Args args) {
  const Parameters p(context, "range", args, {"/", "/", "/"}, 1);
  auto range = std::make_shared<RangeObject>();
  range->stop = p.integer(0, 0);
  if (p[1]) {
    range->start = range->stop;
    range->stop = p.integer(1, 0);
  }
  range->step = p.integer(2, 1);
  if (range->step == 0) context.fail("the step of range cannot be zero");
  for (const Int bound : {range->start, range->stop, range->step}) {
    if (bound > kMaxRangeBound || bound < -kMaxRangeBound)
      context.fail("range: too large a number");
  }
  if (range->size() > kMaxRangeSize) {
    context.fail("a range of more than {} items", print_integer(kMaxRangeSize));
  }
  return Value(Type::kRange, std::move(range));
}

// dict(mapping or pairs, **named), as a set of entries to add to.
void fill_dict(Context& context, const Args& args, DictObject* dict) {
  if (args.positional.size() > 1) context.fail("dict takes at most one argument");
  if (!args.positional.empty()) {
    const Value& source = args.positional[0];
    if (source.is(Type::kDict)) {
      for (const auto& entry : source.dict().entries()) dict->set(context, entry.key, entry.value);
    } else {
      const Iteration next = iterate(context, source);
      for (Value item; next(context, &item);) {
        const std::vector<Value> pair = to_vector(context, item);
        if (pair.size() != 2) context.fail("dict needs pairs of a key and a value");
        dict->set(context, pair[0], pair[1]);
      }
    }
  }
  for (const auto& [name, value] : args.named) dict->set(context, args.name_value(name), value);
}

Value global_dict(Context& context, Args args) {
  auto dict = std::make_shared<DictObject>();
  fill_dict(context, args, dict.get());
  return make_dict(context, std::move(dict));
}

Value dict_fromkeys(Context& context, Args args) {
  const Parameters p(context, "fromkeys", args, {"/", "/"}, 1);
  auto dict = std::make_shared<DictObject>();
  const Iteration next = iterate(context, *p[0]);
  for (Value key; next(context, &key);) dict->set(context, key, p[1] ? *p[1] : Value());
  return make_dict(context, std::move(dict));
}

Value make_dict_global(Context& context) {
  auto function = std::make_shared<FunctionObject>();
  function->name = "function dict";
  function->call = global_dict;
  function->depth = 2;
  function->attributes = {
      {"fromkeys", make_function(context, "bound method TemplateDict.fromkeys", 0, dict_fromkeys)}};
  return Value(Type::kFunction, std::move(function));
}

Value global_raise_exception(Context& context, Args args) {
  const Parameters p(context, "raise_exception", args, {"message"}, 1);
  context.fail("{}", to_str(context, *p[0]).text());
}

Value global_strftime_now(Context& context, Args args) {
  const Parameters p(context, "strftime_now", args, {"format"}, 1);
  if (!p.string(0)) context.fail("strftime_now needs a string");
  const std::string& format = p[0]->text();
  if (format.empty()) return Value::literal("");
  if (format.size() > 1000) context.fail("the format of strftime_now is too long");
  const std::tm now = context.now();
  std::vector<char> buffer(64 * format.size() + 256);
  const size_t size = std::strftime(buffer.data(), buffer.size(), format.c_str(), &now);
  TextBuilder out(context);
  out.append(std::string_view(buffer.data(), size), all_own(p[0]->marked()));
  return Value::string(out.take());
}

struct Cycler : AttributeObject {
  std::vector<Value> items;
  size_t pos = 0;

  Value advance() {
    const Value item = items[pos];
    pos = (pos + 1) % items.size();
    return item;
  }
  std::optional<Value> attribute(Context& context, std::string_view name) override {
    if (name == "current") return items[pos];
    if (name == "pos") return Value::integer(static_cast<Int>(pos));
    if (name == "items") return make_tuple(context, items);
    if (name != "next" && name != "reset") return std::nullopt;
    return make_function(context, "bound method Cycler", depth,
                         [keep = self.lock(), is_next = name == "next"](Context&, Args) {
                           if (is_next) return keep->advance();
                           keep->pos = 0;
                           return Value();
                         });
  }
  std::string print(Context&) override { return "<jinja2.utils.Cycler object>"; }
  Value call(Context& context, Args) override { context.fail("a Cycler cannot be called"); }
  bool callable() const override { return false; }
  std::optional<Int> length(Context&) override { return std::nullopt; }
  bool next(Context& context, Value*) override { context.fail("a Cycler cannot be looped over"); }

  std::weak_ptr<Cycler> self;
};

Value global_cycler(Context& context, Args args) {
  if (args.positional.empty() || !args.named.empty()) context.fail("cycler needs items");
  auto cycler = std::make_shared<Cycler>();
  for (const Value& item : args.positional) {
    cycler->depth = std::max(cycler->depth, nested_depth(context, item.depth()));
  }
  cycler->items = std::move(args.positional);
  cycler->self = cycler;
  return Value(Type::kObject, std::move(cycler));
}

Value global_joiner(Context& context, Args args) {
  const Parameters p(context, "joiner", args, {"sep"});
  const Value separator = p[0] ? *p[0] : Value::literal(", ");
  return make_function(context, "jinja2.utils.Joiner object", separator.depth(),
                       [separator, used = std::make_shared<bool>(false)](Context&, Args) {
                         if (*used) return separator;
                         *used = true;
                         return Value::literal("");
                       });
}

}  // namespace

std::optional<Value> find_global(Context& context, std::string_view name, NamespaceArena* arena) {
  struct Global {
    std::string_view name;
    Value (*call)(Context&, Args);
  };
  static constexpr Global kGlobals[] = {
      {"range", global_range},

      {"cycler", global_cycler},
      {"joiner", global_joiner},
      {"strftime_now", global_strftime_now},
      {"raise_exception", global_raise_exception},
  };
  for (const Global& global : kGlobals) {
    if (global.name == name) {
      return make_function(context, "function " + std::string(name), 0, global.call);
    }
  }
  if (name == "dict") return make_dict_global(context);
  if (name != "namespace") return std::nullopt;
  return make_function(context, "class 'Namespace'", 0, [arena](Context& c, Args args) {
    c.charge(256);
    NamespaceObject& object = arena->emplace_back();
    fill_dict(c, args, &object.attributes);
    for (const auto& entry : object.attributes.entries()) {
      if (entry.key.is(Type::kString) && entry.key.text().substr(0, 1) == "_") {
        c.fail("the attributes of a namespace cannot begin with an underscore");
      }
    }
    return Value(Type::kNamespace, std::shared_ptr<Object>(std::shared_ptr<Object>(), &object));
  });
}

}  // namespace flashmoe::text::jinja
