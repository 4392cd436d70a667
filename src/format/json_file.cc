#include "format/json_file.h"

#include <utility>
#include <vector>

#include "base/error.h"
#include "format/input_file.h"

namespace flashmoe::format {

namespace {

using nlohmann::json;

// Builds the document from the parser's events, so that hostile nesting and repeated keys are
// noticed while reading.
class BoundedBuilder : public nlohmann::json_sax<json> {
 public:
  explicit BoundedBuilder(const std::string& source) : source_(source) {}

  json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(json::object()); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    const auto [place, inserted] = open_.back()->emplace(name, nullptr);
    if (!inserted) {
      throw_error(ErrorCode::kCorrupt, "{}: names the key \"{}\" twice", source_, name);
    }
    value_ = &*place;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    throw_error(ErrorCode::kCorrupt, "{}: is not valid JSON at byte {}", source_, position);
  }

 private:
  // Puts a value where the document continues and returns its place.
  json* place(json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_object()) {
      *value_ = std::move(value);
      return value_;
    }
    open_.back()->push_back(std::move(value));
    return &open_.back()->back();
  }

  bool add(json value) {
    place(std::move(value));
    return true;
  }

  bool open(json container) {
    if (open_.size() == kMaxJsonDepth) {
      throw_error(ErrorCode::kCorrupt, "{}: nests JSON deeper than {} levels", source_,
                  kMaxJsonDepth);
    }
    open_.push_back(place(std::move(container)));
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string& source_;
  json root_;
  std::vector<json*> open_;  // containers around the next value; a parent never moves meanwhile
  json* value_ = nullptr;    // of the last key
};

}  // namespace

json parse_json(std::string_view text, const std::string& source) {
  BoundedBuilder builder(source);
  json::sax_parse(text, &builder);
  return builder.take();
}

json read_json_file(const std::string& path) {
  const io::File file = open_input(path);
  if (file.size() > kMaxJsonFileBytes) {
    throw_error(ErrorCode::kCorrupt, "{}: has {} bytes, more than the {} of a sensible JSON file",
                path, file.size(), kMaxJsonFileBytes);
  }
  return parse_json(read_text(file, 0, file.size()), path);
}

std::string brief(const json& value) {
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
  if (text.size() > 60) text.replace(57, std::string::npos, "...");
  return text;
}

}  // namespace flashmoe::format
