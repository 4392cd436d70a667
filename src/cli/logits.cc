// flashmoe logits: teacher-forced logits of given ids, for anybody's oracle.
#include <charconv>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/npy.h"
#include "base/stop_signal.h"
#include "cli/commands.h"
#include "cli/locate.h"
#include "cli/open_engine.h"
#include "model/checkpoint_config.h"

namespace flashmoe::cli {

namespace {

std::vector<int32_t> parse_ids(std::string_view text, const std::string& path, int vocab) {
  std::vector<int32_t> ids;
  int line_number = 0;
  while (!text.empty()) {
    ++line_number;
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    int32_t id = 0;
    const auto [rest, error] = std::from_chars(line.data(), line.data() + line.size(), id);
    if (error != std::errc() || rest != line.data() + line.size() || id < 0 || id >= vocab) {
      throw_error(ErrorCode::kCorrupt,
                  "{}:{}: '{}' is no token id, which is a number from 0 to {} (the model's "
                  "vocabulary)",
                  path, line_number, line.substr(0, 40), vocab - 1);
    }
    ids.push_back(id);
  }
  if (ids.empty()) throw_error(ErrorCode::kCorrupt, "{}: there are no token ids in it", path);
  return ids;
}

}  // namespace

int logits(const LogitsOptions& o) {
  const std::string folder = model_folder(o.model.model);
  const int vocab_size = model::read_model_config(*format::Checkpoint::open(folder)).vocab;
  const std::vector<int32_t> ids = parse_ids(read_text(o.ids, "ids"), o.ids, vocab_size);
  install_stop_signal();
  ModelOptions model = o.model;
  if (model.engine.context == 0) model.engine.context = static_cast<int64_t>(ids.size());
  const std::unique_ptr<Engine> engine = open_engine(model, folder);
  const size_t vocab = static_cast<size_t>(vocab_size);
  NpyWriter out(o.out, static_cast<int64_t>(ids.size()), vocab_size);
  Session session(*engine);
  constexpr size_t kRowsAtOnce = 16;
  std::vector<float> rows(kRowsAtOnce * vocab);
  std::vector<int32_t> numbers(static_cast<size_t>(engine->chunk()));
  std::iota(numbers.begin(), numbers.end(), 0);
  for (size_t begin = 0; begin < ids.size(); begin += numbers.size()) {
    const size_t n = std::min(numbers.size(), ids.size() - begin);
    const Engine::StepItem item{&session, std::span(ids).subspan(begin, n), false};
    engine->step({&item, 1}, stop_requested);
    for (size_t row = 0; row < n; row += kRowsAtOnce) {
      const size_t count = std::min(kRowsAtOnce, n - row);
      engine->row_logits(std::span(numbers).subspan(row, count), rows.data());
      for (size_t i = 0; i < count; ++i) out.write_row(std::span(rows).subspan(i * vocab, vocab));
    }
  }
  out.finish();
  return 0;
}

}  // namespace flashmoe::cli
