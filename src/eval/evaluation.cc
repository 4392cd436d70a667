#include "eval/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/format_units.h"
#include "engine/describe.h"
#include "format/checkpoint.h"

namespace flashmoe::eval {

namespace {

double fraction(const Share& share) {
  return static_cast<double>(share.right) / static_cast<double>(share.of);
}

std::string label(const Evaluation& e) {
  const std::filesystem::path path(e.model);
  const std::string name = (path.has_filename() ? path : path.parent_path()).filename().string();
  return e.setting.empty() ? name : fmt::format("{}, {}", name, e.setting);
}

std::string share_text(const Share& share) { return fmt::format("{} / {}", share.right, share.of); }

// Three significant digits, so that a column of small figures can be compared.
std::string small(double value) { return value == 0 ? "0" : fmt::format("{:.3g}", value); }

struct Cell {
  std::string heading, text;
};

std::vector<Cell> cells(const Evaluation& e) {
  std::vector<Cell> row = {{"model", label(e)},
                           {"bytes", format_bytes(e.size.bytes)},
                           {"bits a weight", fmt::format("{:.2f}", e.size.bits_per_weight())}};
  if (e.text) {
    row.push_back({"perplexity", fmt::format("{:.4f}", e.text->perplexity)});
    if (const auto& d = e.text->divergence) {
      row.push_back({"KL mean", small(d->kl_mean)});
      row.push_back({"KL 99 %", small(d->kl_p99)});
      row.push_back({"KL 99.9 %", small(d->kl_p999)});
      row.push_back({"same top", fmt::format("{:.2f} %", 100 * d->top1)});
    }
  }
  if (e.tasks) {
    if (e.tasks->json.of > 0) row.push_back({"valid JSON", share_text(e.tasks->json)});
    for (const auto& [kind, share] : e.tasks->kinds) {
      std::string heading = kind;
      std::replace(heading.begin(), heading.end(), '_', ' ');
      row.push_back({heading, share_text(share)});
    }
  }
  return row;
}

}  // namespace

double ModelSize::bits_per_weight() const {
  return weights == 0 ? 0 : 8 * static_cast<double>(bytes) / static_cast<double>(weights);
}

ModelSize model_size(const std::string& folder) {
  const engine::ModelDescription description = engine::describe(folder);
  ModelSize size;
  for (const engine::TensorKind& kind : description.kinds) size.weights += kind.weights;
  const auto checkpoint = format::Checkpoint::open(folder);
  for (const std::string& file : checkpoint->files()) {
    size.bytes += std::filesystem::file_size(file);
  }
  size.bytes -= std::min(size.bytes, description.unused_bytes);
  return size;
}

Json evaluation_json(const Evaluation& e) {
  Json json;
  json["model"] = e.model;
  json["setting"] = e.setting;
  json["bytes"] = e.size.bytes;
  json["weights"] = e.size.weights;
  json["bits_per_weight"] = e.size.bits_per_weight();
  if (e.text) {
    json["tokens"] = e.text->tokens;
    json["perplexity"] = e.text->perplexity;
    if (const auto& d = e.text->divergence) {
      json["base"] = e.base;
      json["base_perplexity"] = d->base_perplexity;
      json["kl_mean"] = d->kl_mean;
      json["kl_p99"] = d->kl_p99;
      json["kl_p999"] = d->kl_p999;
      json["kl_max"] = d->kl_max;
      json["top1"] = d->top1;
    }
  }
  if (e.tasks) {
    if (e.tasks->json.of > 0) {
      json["json_valid"] = fraction(e.tasks->json);
      json["json"] = {{"valid", e.tasks->json.right}, {"of", e.tasks->json.of}};
    }
    json["tasks"] = Json::object();
    for (const auto& [kind, share] : e.tasks->kinds) {
      json["tasks"][kind] = {{"right", share.right}, {"of", share.of}};
    }
  }
  return json;
}

std::string evaluation_text(const Evaluation& e) {
  std::string text;
  for (const Cell& cell : cells(e)) text += fmt::format("{:<15}{}\n", cell.heading, cell.text);
  return text;
}

std::string evaluation_table(const std::vector<Evaluation>& evaluations) {
  std::vector<std::string> headings;
  std::vector<std::vector<Cell>> rows;
  for (const Evaluation& e : evaluations) {
    rows.push_back(cells(e));
    for (const Cell& cell : rows.back()) {
      if (std::find(headings.begin(), headings.end(), cell.heading) == headings.end()) {
        headings.push_back(cell.heading);
      }
    }
  }
  std::string table = "|";
  for (const std::string& heading : headings) table += fmt::format(" {} |", heading);
  table += "\n|";
  for (size_t i = 0; i < headings.size(); ++i) table += i == 0 ? "---|" : "---:|";
  for (const std::vector<Cell>& row : rows) {
    table += "\n|";
    for (const std::string& heading : headings) {
      const auto cell =
          std::find_if(row.begin(), row.end(), [&](const Cell& c) { return c.heading == heading; });
      table += fmt::format(" {} |", cell == row.end() ? "" : cell->text);
    }
  }
  return table + "\n";
}

}  // namespace flashmoe::eval
