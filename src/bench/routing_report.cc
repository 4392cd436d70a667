#include "bench/routing_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/format_units.h"

namespace flashmoe::bench {

namespace {

using experts::Recall;
using experts::RoutingStats;

constexpr double kCoverage[] = {0.5, 0.8, 0.95};
constexpr double kTop = 0.1;
constexpr int kLayerGroups = 8;  // the table of layers is condensed to as many lines

double percent(double share) { return 100 * share; }

double share(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

std::string share_text(const Recall& recall) {
  return recall.picks > 0 ? fmt::format("{:.1f} %", percent(recall.share())) : "-";
}

// About equal runs of layers, in order.
std::vector<RoutingStats::Layers> layer_groups(int layers) {
  const int groups = std::min(layers, kLayerGroups);
  std::vector<RoutingStats::Layers> result;
  for (int i = 0; i < groups; ++i) {
    result.push_back({i * layers / groups, (i + 1) * layers / groups});
  }
  return result;
}

// Picks of experts that were picked before, and so have a reuse distance.
int64_t reused(const RoutingStats& stats) {
  int64_t picks = 0;
  for (const int64_t n : stats.reuse()) picks += n;
  return picks;
}

// "up to 4", and "over 64" for the last.
std::string reuse_name(size_t i) {
  const auto& bounds = RoutingStats::kReuseBounds;
  return i < bounds.size() ? fmt::format("up to {}", bounds[i])
                           : fmt::format("over {}", bounds.back());
}

std::string coverage_line(const RoutingStats& stats, double covered, uint64_t expert_bytes) {
  const int64_t experts = stats.experts_for(covered, stats.all_layers());
  std::string line = fmt::format("{:.0f} % of picks   by {} experts ({:.1f} %)", percent(covered),
                                 experts, percent(share(experts, stats.shape().keys())));
  if (expert_bytes > 0) {
    line += ", " + format_bytes(static_cast<uint64_t>(experts) * expert_bytes);
  }
  return line;
}

}  // namespace

MissKinds miss_kinds(const RoutingStats& stats, int64_t misses) {
  // An expert that was prefetched is no miss at its first use.
  const int64_t first = std::min(stats.unique(stats.all_layers()), misses);
  return {first, misses - first};
}

std::vector<std::string> routing_lines(const RoutingStats& stats, uint64_t expert_bytes) {
  const experts::RoutingShape& shape = stats.shape();
  const RoutingStats::Layers all = stats.all_layers();
  const int64_t unique = stats.unique(all);
  std::vector<std::string> lines;
  std::string used = fmt::format("experts used    {} of {} ({:.1f} %) by {} tokens", unique,
                                 shape.keys(), percent(share(unique, shape.keys())), stats.rows());
  if (expert_bytes > 0) used += ", " + format_bytes(static_cast<uint64_t>(unique) * expert_bytes);
  lines.push_back(used);
  for (const double covered : kCoverage) {
    lines.push_back(coverage_line(stats, covered, expert_bytes));
  }

  std::string reuse = fmt::format("picked again    never before {:.1f} %; after tokens:",
                                  percent(share(stats.picks() - reused(stats), stats.picks())));
  for (size_t i = 0; i < stats.reuse().size(); ++i) {
    reuse += fmt::format("{} {} {:.1f} %", i > 0 ? "," : "", reuse_name(i),
                         percent(share(stats.reuse()[i], stats.picks())));
  }
  lines.push_back(reuse);

  std::string recall = fmt::format("foretold        {} by the last token's experts",
                                   share_text(stats.overlap(0, all)));
  for (size_t i = 1; i < RoutingStats::kLags.size(); ++i) {
    recall += fmt::format(" ({} by those {} tokens before)", share_text(stats.overlap(i, all)),
                          RoutingStats::kLags[i]);
  }
  recall += fmt::format(", {} by the most used so far", share_text(stats.most_frequent(all)));
  if (stats.early(all).picks > 0) {
    recall += fmt::format(", {} by the router a layer ahead", share_text(stats.early(all)));
  }
  lines.push_back(recall);
  if (!stats.early_by_rank().empty()) {
    std::string ranks = "guesses ahead   that come true, by rank:";
    for (const Recall& rank : stats.early_by_rank()) {
      ranks += fmt::format(" {:.0f}", percent(rank.share()));
    }
    lines.push_back(ranks + " %");
  }

  lines.push_back(fmt::format("{:<10}{:>12}{:>16}{:>18}{:>14}{:>12}{:>14}", "layers",
                              "used of each", "for 80 %", "picks by top 10 %", "last token",
                              "most used", "layer ahead"));
  for (const RoutingStats::Layers layers : layer_groups(shape.layers)) {
    const double count = layers.end - layers.begin;
    lines.push_back(fmt::format(
        "{:<10}{:>12.1f}{:>16.1f}{:>16.1f} %{:>14}{:>12}{:>14}",
        layers.end - layers.begin == 1 ? fmt::format("{}", layers.begin)
                                       : fmt::format("{}-{}", layers.begin, layers.end - 1),
        static_cast<double>(stats.unique(layers)) / count,
        static_cast<double>(stats.experts_for(0.8, layers)) / count,
        percent(stats.share_of_top(kTop, layers)), share_text(stats.overlap(0, layers)),
        share_text(stats.most_frequent(layers)), share_text(stats.early(layers))));
  }
  return lines;
}

Json routing_json(const RoutingStats& stats, uint64_t expert_bytes) {
  const experts::RoutingShape& shape = stats.shape();
  const RoutingStats::Layers all = stats.all_layers();
  Json json;
  json["rows"] = stats.rows();
  json["picks"] = stats.picks();
  json["experts"] = shape.keys();
  json["experts_used"] = stats.unique(all);
  for (const double covered : kCoverage) {
    const int64_t experts = stats.experts_for(covered, all);
    Json entry = {{"share", covered}, {"experts", experts}};
    if (expert_bytes > 0) entry["bytes"] = static_cast<uint64_t>(experts) * expert_bytes;
    json["coverage"].push_back(entry);
  }
  json["reuse"]["never_before"] = stats.picks() - reused(stats);
  for (size_t i = 0; i < stats.reuse().size(); ++i) {
    json["reuse"][reuse_name(i)] = stats.reuse()[i];
  }
  const auto recalls = [&](RoutingStats::Layers layers) {
    Json recall;
    for (size_t i = 0; i < RoutingStats::kLags.size(); ++i) {
      recall[fmt::format("{}_tokens_before", RoutingStats::kLags[i])] =
          stats.overlap(i, layers).share();
    }
    recall["most_used"] = stats.most_frequent(layers).share();
    if (stats.early(layers).picks > 0) recall["layer_ahead"] = stats.early(layers).share();
    return recall;
  };
  json["recall"] = recalls(all);
  for (const Recall& rank : stats.early_by_rank()) {
    json["recall"]["layer_ahead_by_rank"].push_back(rank.share());
  }
  for (int i = 0; i < shape.layers; ++i) {
    const RoutingStats::Layers layer{i, i + 1};
    Json entry = {{"experts_used", stats.unique(layer)},
                  {"share_of_top_tenth", stats.share_of_top(kTop, layer)}};
    for (const double covered : kCoverage) {
      entry["coverage"].push_back(stats.experts_for(covered, layer));
    }
    entry["recall"] = recalls(layer);
    json["layers"].push_back(entry);
  }
  return json;
}

}  // namespace flashmoe::bench
