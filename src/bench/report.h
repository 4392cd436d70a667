// What a benchmark found: lines for people, one JSON object for scripts, one row for the history.
// Owns only their form; figures come from the benchmarks.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace flashmoe::bench {

using Json = nlohmann::ordered_json;

struct Report {
  std::string name;                // "decode"
  std::string model;               // the folder; empty where there is none
  Json setting;                    // what was run: routing, threads, …
  Json figures;                    // by the keys that scripts rely on
  std::vector<std::string> lines;  // the same for people
  // The one figure by which runs are compared, and the limit measured beside it.
  double figure = 0;
  std::string unit;  // "tok/s", "GB/s"
  double limit = 0;

  double fraction() const { return limit > 0 ? figure / limit : 0; }
};

std::string report_text(const Report& report);
Json report_json(const Report& report);

// Appends one row to a history of runs, with a heading when the file is new: time, commit, machine,
// benchmark, model, setting, figure, unit, limit, fraction, all figures, verdict, note; separated
// by tabs. Throws Error kIo.
void append_result(const std::string& path, const Report& report, const std::string& verdict,
                   const std::string& note);

// Of numbers that are not empty.
double median(std::vector<double> values);

}  // namespace flashmoe::bench
