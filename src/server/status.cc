#include "server/status.h"

#include <fmt/format.h>

#include <iterator>

namespace flashmoe::server {

namespace {

double share(int64_t part, int64_t other) {
  return part + other > 0 ? static_cast<double>(part) / static_cast<double>(part + other) : 0;
}
double share(double part, double other) { return part + other > 0 ? part / (part + other) : 0; }

double rate(double amount, double seconds) { return seconds > 0 ? amount / seconds : 0; }

Json run_json(const RunStatus& run) {
  return {{"id", run.id},
          {"api", run.api},
          {"state", run.state},
          {"age_s", run.age_s},
          {"prompt_tokens", run.prompt_tokens},
          {"done_prompt_tokens", run.done_prompt_tokens},
          {"cached_tokens", run.cached_tokens},
          {"answer_tokens", run.answer_tokens},
          {"answer_tok_s", run.answer_tok_s}};
}

// The text format's lines.
class Metrics {
 public:
  void add(const char* name, const char* type, const char* help, double value) {
    fmt::format_to(std::back_inserter(text_),
                   "# HELP flashmoe_{0} {1}\n# TYPE flashmoe_{0} {2}\nflashmoe_{0} {3}\n", name,
                   help, type, value);
  }
  template <typename T>
  void counter(const char* name, const char* help, T value) {
    add(name, "counter", help, static_cast<double>(value));
  }
  template <typename T>
  void gauge(const char* name, const char* help, T value) {
    add(name, "gauge", help, static_cast<double>(value));
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace

Json stats_json(const Figures& f) {
  const engine::BatcherStats& b = f.batcher;
  const EngineStats& e = b.engine;
  const MemoryPlan& plan = f.engine->plan();
  Json json;
  json["model"] = {{"name", f.model_name},
                   {"context", f.engine->context()},
                   {"io", f.engine->io_name()},
                   {"threads", f.engine->threads()}};
  json["uptime_s"] = b.uptime_s;
  json["generated_tok_s"] = b.generated_tok_s;
  json["prompt_tok_s"] = b.prompt_tok_s;
  json["disk_gb_s"] = b.disk_bytes_s / 1e9;
  json["hit_rate"] = share(b.expert_hits_s, b.expert_misses_s);
  json["queue"] = {{"waiting", b.queued},
                   {"prompting", b.prompting},
                   {"answering", b.answering},
                   {"places", b.places}};
  json["requests"] = {{"accepted", b.accepted},
                      {"refused", b.refused},
                      {"finished", b.finished},
                      {"cancelled", b.cancelled},
                      {"failed", b.failed}};
  json["tokens"] = {
      {"prompt", b.prompt_tokens}, {"cached", b.cached_tokens}, {"generated", b.generated_tokens}};
  json["prefix_cache"] = {{"states", b.prefix.snapshots},
                          {"bytes", b.prefix.memory_bytes},
                          {"budget_bytes", plan.prefix_cache},
                          {"lookups", b.prefix.lookups},
                          {"memory_hits", b.prefix.memory_hits},
                          {"disk_hits", b.prefix.disk_hits},
                          {"hit_tokens", b.prefix.hit_tokens},
                          {"disk_states", b.prefix_disk.states},
                          {"disk_bytes", b.prefix_disk.bytes},
                          {"disk_damaged", b.prefix_disk.damaged},
                          {"disk_failed_writes", b.prefix_disk.failed_writes}};
  json["experts"] = {
      {"hits", e.expert_hits},
      {"misses", e.expert_misses},
      {"hit_rate", share(e.expert_hits, e.expert_misses)},
      {"disk_bytes", e.disk_bytes},
      {"read_gb_s", rate(static_cast<double>(e.disk_bytes) / 1e9, e.expert_read_busy_s)},
      {"cache_bytes", plan.cache},
      {"all_bytes", plan.all_experts}};
  json["step"] = {{"seconds", b.step_s},
                  {"answer_rows", b.step_answer_rows},
                  {"prompt_rows", b.step_prompt_rows},
                  {"steps", e.steps},
                  {"rows", e.rows}};
  json["memory"] = {{"budget_bytes", plan.budget},       {"dense_bytes", plan.dense},
                    {"cache_bytes", plan.cache},         {"state_bytes", plan.state},
                    {"staging_bytes", plan.staging},     {"scratch_bytes", plan.scratch},
                    {"process_bytes", plan.process},     {"rss_bytes", f.rss_bytes},
                    {"peak_rss_bytes", f.peak_rss_bytes}};
  json["http"] = {{"connections", f.http.connections},
                  {"accepted", f.http.accepted},
                  {"refused", f.http.refused},
                  {"bad_requests", f.http.bad_requests},
                  {"cancelled", f.http.cancelled}};
  json["sessions"] = Json::array();
  for (const RunStatus& run : f.runs) json["sessions"].push_back(run_json(run));
  return json;
}

Json expert_map_json(const experts::ExpertMap& map) {
  Json resident = Json::array(), use = Json::array(), hits = Json::array(), misses = Json::array();
  for (int layer = 0; layer < map.layers; ++layer) {
    Json rows[4] = {Json::array(), Json::array(), Json::array(), Json::array()};
    for (int expert = 0; expert < map.experts; ++expert) {
      const experts::ExpertMap::Expert& one = map.at(layer, expert);
      rows[0].push_back(one.resident ? 1 : 0);
      rows[1].push_back(one.use);
      rows[2].push_back(one.hits);
      rows[3].push_back(one.misses);
    }
    resident.push_back(std::move(rows[0]));
    use.push_back(std::move(rows[1]));
    hits.push_back(std::move(rows[2]));
    misses.push_back(std::move(rows[3]));
  }
  return {{"layers", map.layers},  {"experts", map.experts},  {"resident", std::move(resident)},
          {"use", std::move(use)}, {"hits", std::move(hits)}, {"misses", std::move(misses)}};
}

std::string metrics_text(const Figures& f) {
  const engine::BatcherStats& b = f.batcher;
  const EngineStats& e = b.engine;
  Metrics m;
  m.gauge("uptime_seconds", "Time since the start.", b.uptime_s);
  m.gauge("requests_waiting", "Answers that wait for a place.", b.queued);
  m.gauge("requests_running", "Answers that have a place.", b.prompting + b.answering);
  m.gauge("places", "Answers that may run at once.", b.places);
  m.counter("requests_accepted_total", "Answers that were queued.", b.accepted);
  m.counter("requests_refused_total", "Answers refused because the queue was full.", b.refused);
  m.counter("requests_finished_total", "Answers that came to their end.", b.finished);
  m.counter("requests_cancelled_total", "Answers whose client went away.", b.cancelled);
  m.counter("requests_failed_total", "Answers that ended with an error.", b.failed);
  m.counter("prompt_tokens_total", "Tokens of prompts that were run.", b.prompt_tokens);
  m.counter("cached_tokens_total", "Tokens of prompts found in the prefix cache.", b.cached_tokens);
  m.counter("generated_tokens_total", "Tokens of answers.", b.generated_tokens);
  m.counter("prefix_cache_lookups_total", "Lookups of prompts in the prefix cache.",
            b.prefix.lookups);
  m.counter("prefix_cache_hits_total", "Lookups that found a state, in memory or on disk.",
            b.prefix.memory_hits + b.prefix.disk_hits);
  m.gauge("prefix_cache_bytes", "Memory of the prefix cache in use.", b.prefix.memory_bytes);
  m.gauge("generated_tokens_per_second", "Tokens of answers, over the last seconds.",
          b.generated_tok_s);
  m.gauge("prompt_tokens_per_second", "Tokens of prompts run, over the last seconds.",
          b.prompt_tok_s);
  m.gauge("disk_bytes_per_second", "Read for experts, over the last seconds.", b.disk_bytes_s);
  m.counter("expert_hits_total", "Experts needed by a step and found resident.", e.expert_hits);
  m.counter("expert_misses_total", "Experts needed by a step and read from disk.", e.expert_misses);
  m.counter("disk_bytes_total", "Bytes read for experts.", e.disk_bytes);
  m.counter("steps_total", "Steps of the engine.", e.steps);
  m.counter("rows_total", "Tokens run by the engine.", e.rows);
  m.gauge("memory_budget_bytes", "The memory that may be used.", f.engine->plan().budget);
  m.gauge("expert_cache_bytes", "Of it, for experts.", f.engine->plan().cache);
  m.gauge("resident_memory_bytes", "Memory in use.", f.rss_bytes);
  m.gauge("http_open_connections", "Open connections.", f.http.connections);
  m.counter("http_connections_total", "Connections that were taken.", f.http.accepted);
  m.counter("http_connections_refused_total", "Connections refused because there were too many.",
            f.http.refused);
  m.counter("http_bad_requests_total", "Requests that were not HTTP, over a limit or too late.",
            f.http.bad_requests);
  m.counter("http_cancelled_total", "Requests whose client went away or read too slowly.",
            f.http.cancelled);
  return m.take();
}

}  // namespace flashmoe::server
