// The program's commands: their options as plain data, filled in by main.cc from the command line,
// and the functions that carry them out. Each returns the exit code or throws Error.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "flashmoe/engine.h"

namespace flashmoe::cli {

// What every command takes that runs a model.
struct ModelOptions {
  std::string model;          // empty: the embedded one
  std::string template_path;  // a chat template in place of the model's; of commands that take text
  EngineOptions engine;
};

struct RunOptions {
  ModelOptions model;
  std::string first, second;          // [MODEL] [PROMPT] as given
  std::optional<std::string> prompt;  // --prompt
  std::string file;                   // --file, "-" for stdin
  std::optional<std::string> system;  // text or @FILE
  std::string think;                  // "", "on", "off" or a number of tokens
  std::string grammar;                // path of a GBNF grammar; empty: none
  std::string json_schema;            // path of a JSON schema; empty: none
  bool raw = false;
  bool parse_special = false;
  int64_t tokens = -1;
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty,
      frequency_penalty;
  std::optional<int> top_k;
  std::optional<uint64_t> seed;
  bool timing = false;
  bool experts_report = false;
  std::string record_routing;  // path of the trace to write; empty: none
  bool json = false;
};
int run(const RunOptions& options);

struct ServeOptions {
  ModelOptions model;
  std::string host = "127.0.0.1";
  int port = 8080;
  std::string api_key, cors, model_name;
  int max_queue = 256;
  int max_connections = 512;
  uint64_t max_body_bytes = uint64_t{32} << 20;
  double timeout_s = 0;   // of an answer; 0: none
  std::string cache_dir;  // states of prompts on disk; empty: none
  uint64_t cache_dir_bytes = uint64_t{16} << 30;
};
int serve(const ServeOptions& options);

struct TopOptions {
  std::string url = "http://127.0.0.1:8080";
  std::string api_key;
  double every_s = 1;
  bool once = false, json = false;
};
int top(const TopOptions& options);

struct InspectOptions {
  std::string model;
  bool json = false;
};
int inspect(const InspectOptions& options);

struct PlanOptions {
  ModelOptions model;
  bool json = false;
  bool remeasure = false;
};
int plan(const PlanOptions& options);

struct LogitsOptions {
  ModelOptions model;
  std::string ids;  // path of a file with one id a line
  std::string out;  // path of the .npy file
};
int logits(const LogitsOptions& options);

struct EvalOptions {
  std::vector<std::string> models;         // empty: the embedded one
  ModelOptions model;                      // of all of them; model.model is not used
  std::string text, tasks, base, answers;  // paths, the base a model; each may be empty
  std::vector<std::string> sweeps;         // "k=4,2"
  int64_t stride = 0;                      // 0: the window
  int64_t tokens = 256;                    // of an answer
  bool table = false;
  bool json = false;
};
int eval(const EvalOptions& options);

struct TokenizeOptions {
  std::string model;  // model or tokenizer.json
  bool parse_special = false;
  bool decode = false;
};
int tokenize(const TokenizeOptions& options);

struct RenderOptions {
  std::string model;    // model or template file
  std::string context;  // path of a JSON file with the variables
};
int render(const RenderOptions& options);

struct QuantizeCommandOptions {
  std::string source, destination;
  std::optional<int> bits, group;
  int threads = 0;
  std::string recipe = "mixed";
  std::string importance;
  bool print_recipe = false;
};
int quantize(const QuantizeCommandOptions& options);

struct PackCommandOptions {
  std::string source;       // a model, or with `verify` alone the store
  std::string destination;  // may be empty
  int threads = 0;
  bool verify = false;
  bool json = false;
};
int pack(const PackCommandOptions& options);

struct ImatrixOptions {
  ModelOptions model;
  std::string text;                         // path
  std::string out = "imatrix.safetensors";  // path
  bool moments = false;
};
int imatrix(const ImatrixOptions& options);

struct SynthCommandOptions {
  std::string model;  // a published model's name, or the path of a config.json
  std::string destination;
  int bits = 16;
  int layers = 0;  // 0: all
  uint64_t seed = 0;
};
int synth(const SynthCommandOptions& options);

struct BenchCommandOptions {
  std::string bench;  // "decode", …
  ModelOptions model;
  std::string routing = "model";
  std::vector<std::string> caches;   // of `cache`: shares or sizes
  std::vector<std::string> formats;  // of `kernels`: by name; empty: all
  int64_t tokens = 0, batch = 1;
  int repeat = 3;
  uint64_t seed = 1;
  bool json = false;
  std::string results;  // the history to add a row to; empty: none
  std::string verdict = "keep", note;
};
int bench(const BenchCommandOptions& options);

struct ChatOptions {
  ModelOptions model;
  std::string url, api_key;
  std::string resume;  // a conversation's id or file; empty: a new one
  bool list_sessions = false;
  std::optional<std::string> system;  // text or @FILE
  std::string show_think;             // "", "hide", "dim" or "show"
  std::string think;                  // "", "on", "off" or a number of tokens
  bool shell = false;
  std::string tools;                                           // path; empty: none
  std::map<std::string, std::optional<std::string>> settings;  // chat::Settings by name
};
int chat(const ChatOptions& options);

// Writes out what stands in standard output's buffer; Error kIo when that fails, e.g. on a full
// disk. main calls it after every command.
void flush_output();

}  // namespace flashmoe::cli
