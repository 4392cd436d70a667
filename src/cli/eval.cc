// flashmoe eval: how good a model is.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/log.h"
#include "base/stop_signal.h"
#include "cli/commands.h"
#include "cli/locate.h"
#include "cli/open_engine.h"
#include "engine/plan.h"
#include "engine/text_model.h"
#include "eval/evaluation.h"
#include "model/config.h"

namespace flashmoe::cli {

namespace {

constexpr int64_t kWindow = 2048;  // tokens of text run with one context, when nobody says

struct Setting {
  std::string text;  // as in the table
  std::optional<int> experts_per_token;
  std::optional<KvType> kv;
};

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    parts.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

Setting with(Setting setting, const std::string& name, const std::string& value) {
  if (name == "kv" && (value == "f16" || value == "f32")) {
    setting.kv = value == "f16" ? KvType::kF16 : KvType::kF32;
  } else if (name == "k" && !value.empty() && value.size() <= 4 && value != "0" &&
             value.find_first_not_of("0123456789") == std::string::npos) {
    setting.experts_per_token = std::stoi(value);
  } else {
    throw_error(ErrorCode::kUsage, "--sweep takes k=N,N,… or kv=f16,f32, and {}={} is neither",
                name, value);
  }
  setting.text += fmt::format("{}{}={}", setting.text.empty() ? "" : ", ", name, value);
  return setting;
}

// Every combination of the sweeps' values; one that is empty without sweeps.
std::vector<Setting> settings(const std::vector<std::string>& sweeps) {
  std::vector<Setting> all(1);
  for (const std::string& sweep : sweeps) {
    const size_t equals = std::min(sweep.find('='), sweep.size());
    const std::string name = sweep.substr(0, equals);
    std::vector<Setting> next;
    for (const Setting& setting : all) {
      for (const std::string& value : split(sweep.substr(std::min(equals + 1, sweep.size())))) {
        next.push_back(with(setting, name, value));
      }
    }
    all = std::move(next);
  }
  return all;
}

class Evaluator {
 public:
  explicit Evaluator(const EvalOptions& o) : o_(o) {
    if (!o.text.empty()) text_ = read_text(o.text, "text");
    if (!o.tasks.empty()) tasks_ = eval::parse_tasks(read_text(o.tasks, "tasks"), o.tasks);
    if (!o.base.empty()) base_ = model_folder(o.base);
    if (!o.answers.empty()) answers_.emplace(o.answers);
  }

  eval::Evaluation run(const std::string& folder, const Setting& setting) {
    const engine::TextModel text(folder);
    eval::Evaluation result;
    result.model = folder;
    result.setting = setting.text;
    result.base = base_;
    result.size = eval::model_size(folder);
    const std::vector<int32_t> tokens = text.encode_text(text_, true);
    ModelOptions options = o_.model;
    if (setting.experts_per_token) options.engine.experts_per_token = *setting.experts_per_token;
    if (setting.kv) options.engine.kv = setting.kv;
    if (!base_.empty()) {  // both are open at once
      if (options.engine.memory_bytes == 0) {
        options.engine.memory_bytes = engine::default_budget_bytes();
      }
      options.engine.memory_bytes /= 2;
    }
    if (!text_.empty()) result.text = score_text(folder, options, tokens);
    if (!tasks_.empty()) result.tasks = score_tasks(folder, options, text);
    return result;
  }

  void finish() {
    if (answers_) answers_->commit();
  }

 private:
  eval::TextScores score_text(const std::string& folder, ModelOptions options,
                              const std::vector<int32_t>& tokens) {
    std::unique_ptr<Engine> base;
    eval::TextOptions how;
    how.window = options.engine.context > 0 ? options.engine.context : kWindow;
    how.stride = o_.stride;
    how.stop = stop_requested;
    options.engine.context = how.window;
    const std::unique_ptr<Engine> engine = open_engine(options, folder);
    if (!base_.empty()) {
      check_same_tokens(folder, tokens);
      options.engine.experts_per_token = 0;  // the base is the model as it was trained
      options.engine.kv = o_.model.engine.kv;
      base = open_engine(options, base_);
      if (base->vocab() != engine->vocab()) {
        throw_error(ErrorCode::kUsage,
                    "{} has {} tokens in its vocabulary and {} has {}: their "
                    "distributions cannot be compared",
                    folder, engine->vocab(), base_, base->vocab());
      }
    }
    Progress progress("scoring text", tokens.empty() ? 0 : tokens.size() - 1, "tokens");
    how.progress = [&](int64_t done) { progress.update(static_cast<uint64_t>(done)); };
    return eval::score_text(*engine, base.get(), tokens, how);
  }

  void check_same_tokens(const std::string& folder, const std::vector<int32_t>& tokens) const {
    if (engine::TextModel(base_).encode_text(text_, true) == tokens) return;
    throw_error(ErrorCode::kUsage,
                "{} and {} cut the text into different tokens: their distributions cannot be "
                "compared",
                folder, base_);
  }

  eval::TaskScores score_tasks(const std::string& folder, const ModelOptions& options,
                               const engine::TextModel& text) {
    const std::unique_ptr<Engine> engine = open_engine(options, folder);
    eval::TaskOptions how;
    how.max_tokens = o_.tokens;
    how.stop = stop_requested;
    Progress progress("answering", tasks_.size(), "tasks");
    how.progress = [&](int64_t done) { progress.update(static_cast<uint64_t>(done)); };
    if (answers_) {
      how.on_answer = [&](const eval::Task& task, const std::string& answer, bool right) {
        const eval::Json line = {{"model", folder},
                                 {"kind", task.kind},
                                 {"right", right},
                                 {"want", task.want},
                                 {"answer", answer}};
        answers_->write(line.dump(-1, ' ', false, eval::Json::error_handler_t::replace) + "\n");
      };
    }
    return eval::score_tasks(*engine, text, tasks_, how);
  }

  const EvalOptions& o_;
  std::string text_, base_;
  std::vector<eval::Task> tasks_;
  std::optional<AtomicFile> answers_;
};

}  // namespace

int eval(const EvalOptions& o) {
  if (o.text.empty() && o.tasks.empty()) {
    throw Error(ErrorCode::kUsage,
                "give a text to foretell (--text), tasks to answer (--tasks) or "
                "both");
  }
  if (!o.base.empty() && o.text.empty()) {
    throw Error(ErrorCode::kUsage, "--base compares on a text: give one with --text");
  }
  const int64_t window = o.model.engine.context > 0 ? o.model.engine.context : kWindow;
  if (o.stride > window) {
    throw_error(ErrorCode::kUsage, "--stride {} is more than the window of {} tokens (--context)",
                o.stride, window);
  }
  const std::vector<Setting> all = settings(o.sweeps);
  std::vector<std::string> folders;
  for (const std::string& model : o.models) folders.push_back(model_folder(model));
  if (folders.empty()) folders.push_back(model_folder(""));
  const bool table = o.table || folders.size() * all.size() > 1;
  Evaluator evaluator(o);
  install_stop_signal();
  std::vector<eval::Evaluation> results;
  for (const std::string& folder : folders) {
    for (const Setting& setting : all) {
      if (table) {
        log_info("{}{}{}", folder, setting.text.empty() ? "" : ", ", setting.text);
      }
      results.push_back(evaluator.run(folder, setting));
    }
  }
  evaluator.finish();
  if (o.json && !table) {
    fmt::print("{}\n", eval::evaluation_json(results[0]).dump(2));
  } else if (o.json) {
    eval::Json json;
    for (const eval::Evaluation& result : results) {
      json["rows"].push_back(eval::evaluation_json(result));
    }
    fmt::print("{}\n", json.dump(2));
  } else if (table) {
    fmt::print("{}", eval::evaluation_table(results));
  } else {
    fmt::print("{}", eval::evaluation_text(results[0]));
  }
  return 0;
}

}  // namespace flashmoe::cli
