#include "server/generator.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>
#include <span>
#include <utility>

#include "base/check.h"
#include "engine/answer.h"
#include "server/answer_reader.h"
#include "text/grammar_constraint.h"

namespace flashmoe::server {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

engine::SamplingOptions sampling_options(const Sampling& given, engine::SamplingOptions s) {
  const auto set = [](const auto& from, auto* to) {
    if (from) *to = static_cast<std::remove_reference_t<decltype(*to)>>(*from);
  };
  set(given.temperature, &s.temperature);
  set(given.top_p, &s.top_p);
  set(given.min_p, &s.min_p);
  set(given.top_k, &s.top_k);
  set(given.repetition_penalty, &s.repetition_penalty);
  set(given.presence_penalty, &s.presence_penalty);
  set(given.frequency_penalty, &s.frequency_penalty);
  s.seed = given.seed ? *given.seed : std::random_device{}();
  return s;
}

// Arguments as the template takes them: an object, where it does not take text.
void read_arguments(Json* messages) {
  for (Json& message : *messages) {
    if (!message.contains("tool_calls")) continue;
    for (Json& call : message["tool_calls"]) {
      Json& arguments = call["function"]["arguments"];
      if (!arguments.is_string()) continue;
      try {
        arguments = parse_object(arguments.get<std::string>());
      } catch (const ApiError&) {
        refuse("messages", "the arguments of a call of '{}' are not a JSON object",
               call["function"]["name"].get<std::string>());
      }
    }
  }
}

// Whether a call's arguments come out as `text`, neither quoted nor escaped.
bool prints(const text::ModelChatTemplate& chat_template, Json arguments, const std::string& text) {
  Json call = {{"id", "0"},
               {"type", "function"},
               {"function", {{"name", "find"}, {"arguments", std::move(arguments)}}}};
  Json variables = {
      {"messages",
       {{{"role", "user"}, {"content", "a"}},
        {{"role", "assistant"}, {"content", ""}, {"tool_calls", Json::array({std::move(call)})}}}},
      {"tools", nullptr},
      {"add_generation_prompt", false}};
  try {
    return chat_template.render(std::move(variables)).text.find(text) != std::string::npos;
  } catch (const Error&) {
    return false;
  }
}

CallMemory::Form arguments_form(const text::ModelChatTemplate& chat_template,
                                text::ToolFormat format) {
  const std::string value = R"("here" 1)", object = R"({"where": "here"})";
  if (format == text::ToolFormat::kXml) {
    return prints(chat_template, {{"where", value}}, value) ? CallMemory::Form::kSpelled
                                                            : CallMemory::Form::kNone;
  }
  return prints(chat_template, object, object) ? CallMemory::Form::kText : CallMemory::Form::kNone;
}

// The tools that the answer may call.
std::vector<text::Tool> callable(std::vector<text::Tool> tools, const ToolChoice& choice) {
  if (choice.allowed.empty()) return tools;
  for (const std::string& name : choice.allowed) {
    if (std::ranges::find(tools, name, &text::Tool::name) == tools.end()) {
      refuse("tool_choice", "'tool_choice' names '{}', which is none of the tools", name);
    }
  }
  std::erase_if(tools, [&](const text::Tool& tool) {
    return std::ranges::find(choice.allowed, tool.name) == choice.allowed.end();
  });
  return tools;
}

// Where other prompts are likely to part from this one: after its first turn, which is the system
// prompt where there is one, and after the last two, where a conversation goes on. The turns
// between were the last ones of earlier requests.
std::vector<int64_t> turn_ends(const std::vector<int32_t>& prompt,
                               const std::vector<int32_t>& stop_tokens) {
  std::vector<int64_t> ends;
  for (size_t i = 0; i < prompt.size(); ++i) {
    if (std::find(stop_tokens.begin(), stop_tokens.end(), prompt[i]) != stop_tokens.end()) {
      ends.push_back(static_cast<int64_t>(i) + 1);
    }
  }
  constexpr size_t kLast = 2;
  if (ends.size() > kLast + 1) ends.erase(ends.begin() + 1, ends.end() - kLast);
  return ends;
}

}  // namespace

// --- What a request becomes ---

struct Generator::Prepared {
  std::vector<std::vector<int32_t>> prompts;
  engine::GenerateOptions options;
  int prompt_logprobs = -1;
  std::shared_ptr<const text::CompiledGrammar> grammar;
  ReadingRules rules;
};

// --- A run ---

class Generator::LiveRun final : public Run, public std::enable_shared_from_this<LiveRun> {
 public:
  LiveRun(Generator& generator, std::string id, std::string api, ReadingRules rules,
          std::shared_ptr<AnswerSink> sink)
      : generator_(generator),
        id_(std::move(id)),
        api_(std::move(api)),
        rules_(std::move(rules)),
        sink_(std::move(sink)) {}

  // Throws ApiError when the batcher refuses.
  void submit(const Prepared& prepared, int choices_each);
  void cancel() override;
  RunStatus status() const;

  // By the listeners.
  void started(size_t choice, int64_t cached_tokens);
  void progress(size_t choice, int64_t done_tokens);
  void prompt_tokens(size_t choice, std::span<const engine::TokenEvent> tokens);
  void token(size_t choice, const engine::TokenEvent& token);
  void done(size_t choice, const engine::Generation& generation);
  void failed(const ApiError& error);

 private:
  class Listener;
  struct ChoiceState {
    std::unique_ptr<AnswerReader> reader;
    int64_t prompt_tokens = 0, done_prompt_tokens = 0;
    bool ended = false;
  };

  bool timed_out() const {
    const double limit = generator_.options_.timeout_s;
    return limit > 0 && seconds_since(begin_) > limit;
  }
  void emit(const std::vector<Event>& events);
  void end_choice(size_t choice, engine::FinishReason reason,
                  const std::optional<engine::TokenEvent>& stop = std::nullopt);
  void give_up(const ApiError& error);  // under mutex_

  Generator& generator_;
  const std::string id_, api_;
  const ReadingRules rules_;
  const Clock::time_point begin_ = Clock::now();

  mutable std::mutex mutex_;
  std::shared_ptr<AnswerSink> sink_;  // null when there is nothing more to say
  std::vector<ChoiceState> choices_;
  size_t running_ = 0;
  Usage usage_;
  bool started_ = false;
  std::optional<Clock::time_point> first_token_;

  std::vector<engine::RequestId> requests_;  // of the choices; as they are after `submit`
};

class Generator::LiveRun::Listener final : public engine::Listener {
 public:
  Listener(std::shared_ptr<LiveRun> run, size_t choice) : run_(std::move(run)), choice_(choice) {}
  void on_start(int64_t cached_tokens) noexcept override {
    guard([&] { run_->started(choice_, cached_tokens); });
  }
  void on_progress(int64_t done_tokens, int64_t) noexcept override {
    guard([&] { run_->progress(choice_, done_tokens); });
  }
  void on_prompt_tokens(std::span<const engine::TokenEvent> tokens) noexcept override {
    guard([&] { run_->prompt_tokens(choice_, tokens); });
  }
  void on_token(const engine::TokenEvent& token) noexcept override {
    guard([&] { run_->token(choice_, token); });
  }
  void on_done(const engine::Generation& generation) noexcept override {
    guard([&] { run_->done(choice_, generation); });
  }
  void on_error(const Error& error) noexcept override { run_->failed(api_error(error)); }

 private:
  // Whatever fails in one answer's text must not end the others.
  template <typename F>
  void guard(F&& call) noexcept {
    try {
      call();
    } catch (const std::exception& error) {
      run_->failed({500, error.what()});
    }
  }

  const std::shared_ptr<LiveRun> run_;
  const size_t choice_;
};

void Generator::LiveRun::submit(const Prepared& prepared, int choices_each) {
  const size_t each = static_cast<size_t>(choices_each);
  const size_t count = prepared.prompts.size() * each;
  // Held to the end: the engine's thread waits with what it has to say until all are submitted.
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < count; ++i) {
    const std::vector<int32_t>& prompt = prepared.prompts[i / each];
    ChoiceState& choice = choices_.emplace_back();
    choice.reader =
        std::make_unique<AnswerReader>(generator_.text_.tokenizer(), rules_, static_cast<int>(i));
    choice.prompt_tokens = static_cast<int64_t>(prompt.size());
    if (i % each == 0) usage_.prompt_tokens += choice.prompt_tokens;
    engine::Request request;
    request.prompt = prompt;
    request.snapshot_points = turn_ends(prompt, prepared.options.stop_tokens);
    request.options = prepared.options;
    request.options.sampling.seed += i % each;
    request.prompt_logprobs = prepared.prompt_logprobs;
    if (prepared.grammar) {
      request.constraint = std::make_unique<text::GrammarConstraint>(prepared.grammar);
    }
    try {
      requests_.push_back(generator_.batcher_.submit(
          std::move(request), std::make_shared<Listener>(shared_from_this(), i)));
    } catch (const Error& error) {
      sink_.reset();
      cancel();
      if (error.code() == ErrorCode::kMemory) throw ApiError(429, error.what());
      throw api_error(error);
    }
  }
  running_ = count;
  sink_->on_begin(usage_.prompt_tokens);
  if (prepared.prompt_logprobs < 0) return;
  for (size_t i = 0; i < count; ++i) {
    const engine::TokenEvent first = {prepared.prompts[i / each].front(), 0, {}};
    sink_->on_event(choices_[i].reader->prompt({&first, 1}, false));
  }
}

void Generator::LiveRun::cancel() {
  for (const engine::RequestId id : requests_) generator_.batcher_.cancel(id);
}

void Generator::LiveRun::started(size_t choice, int64_t cached_tokens) {
  const std::lock_guard lock(mutex_);
  started_ = true;
  choices_[choice].done_prompt_tokens = cached_tokens;
  usage_.cached_tokens = std::max(usage_.cached_tokens, cached_tokens);
}

void Generator::LiveRun::progress(size_t choice, int64_t done_tokens) {
  const std::lock_guard lock(mutex_);
  choices_[choice].done_prompt_tokens = done_tokens;
  if (timed_out()) give_up({504, "the answer took longer than the server's limit"});
}

void Generator::LiveRun::prompt_tokens(size_t choice, std::span<const engine::TokenEvent> tokens) {
  const std::lock_guard lock(mutex_);
  if (sink_) sink_->on_event(choices_[choice].reader->prompt(tokens, true));
}

void Generator::LiveRun::token(size_t choice, const engine::TokenEvent& token) {
  const std::lock_guard lock(mutex_);
  ChoiceState& state = choices_[choice];
  if (state.ended || !sink_) return;
  if (!first_token_) first_token_ = Clock::now();
  state.done_prompt_tokens = state.prompt_tokens;
  if (timed_out()) {
    give_up({504, "the answer took longer than the server's limit"});
    return;
  }
  emit(state.reader->push(token));
  if (!state.reader->stopped()) return;
  generator_.batcher_.cancel(requests_[choice]);
  end_choice(choice, engine::FinishReason::kStop);
}

void Generator::LiveRun::done(size_t choice, const engine::Generation& generation) {
  const std::lock_guard lock(mutex_);
  if (choices_[choice].ended || !sink_) return;
  if (generation.finish == engine::FinishReason::kCancelled) {
    // By the client, who gets nothing more, or because the server shuts down.
    give_up({503, "the server is shutting down"});
    return;
  }
  end_choice(choice, generation.finish, generation.stop_event);
}

void Generator::LiveRun::failed(const ApiError& error) {
  const std::lock_guard lock(mutex_);
  give_up(error);
}

void Generator::LiveRun::give_up(const ApiError& error) {
  if (!sink_) return;
  std::exchange(sink_, nullptr)->on_error(error);
  cancel();
}

void Generator::LiveRun::emit(const std::vector<Event>& events) {
  for (const Event& event : events) sink_->on_event(event);
}

void Generator::LiveRun::end_choice(size_t choice, engine::FinishReason reason,
                                    const std::optional<engine::TokenEvent>& stop) {
  ChoiceState& state = choices_[choice];
  state.ended = true;
  const std::vector<Event> last = state.reader->finish(reason, stop);
  // Before the client hears of the end, and may come back with them.
  for (const WrittenCall& call : state.reader->calls()) generator_.calls_.remember(call);
  emit(last);
  usage_.answer_tokens += state.reader->tokens();
  usage_.reasoning_tokens += state.reader->reasoning_tokens();
  if (--running_ == 0) std::exchange(sink_, nullptr)->on_end(usage_);
}

RunStatus Generator::LiveRun::status() const {
  const std::lock_guard lock(mutex_);
  RunStatus status{id_, api_, seconds_since(begin_), "queued"};
  for (const ChoiceState& choice : choices_) {
    status.prompt_tokens += choice.prompt_tokens;
    status.done_prompt_tokens += choice.done_prompt_tokens;
    status.answer_tokens += choice.reader->tokens();
  }
  status.cached_tokens = usage_.cached_tokens;
  if (started_) status.state = "prompt";
  if (first_token_) {
    status.state = "answer";
    const double seconds = seconds_since(*first_token_);
    if (seconds > 0) status.answer_tok_s = static_cast<double>(status.answer_tokens) / seconds;
  }
  return status;
}

// --- The generator ---

Generator::Generator(const Engine& engine, const engine::TextModel& text, engine::Batcher& batcher,
                     const GeneratorOptions& options)
    : engine_(engine),
      text_(text),
      batcher_(batcher),
      options_(options),
      grammars_(text.tokenizer()) {
  if (const auto chat_template = text.chat_template(true)) {
    tool_format_ = text::detect_tool_format(*chat_template);
    arguments_form_ = arguments_form(*chat_template, tool_format_);
  }
}

Generator::~Generator() = default;

std::vector<int32_t> Generator::encode(const Chat& chat) const {
  Json variables = chat.template_variables;
  variables["messages"] = chat.messages;
  if (arguments_form_ != CallMemory::Form::kText) read_arguments(&variables["messages"]);
  calls_.restore(arguments_form_, &variables["messages"]);
  if (!chat.tools.empty() && chat.tool_choice.kind != ToolChoice::kNone) {
    variables["tools"] = chat.tools;
    // Not the template's matter: prompts do not change with it.
    for (Json& tool : variables["tools"]) tool["function"].erase("strict");
  }
  if (chat.thinking.enabled) variables["enable_thinking"] = *chat.thinking.enabled;
  try {
    std::vector<int32_t> tokens = text_.encode_chat(std::move(variables));
    if (!chat.prefill.empty()) {
      const std::vector<int32_t> more = text_.encode_text(chat.prefill, false);
      tokens.insert(tokens.end(), more.begin(), more.end());
    }
    return tokens;
  } catch (const Error& error) {
    throw ApiError(error.code() == ErrorCode::kUsage ? 400 : 500, error.what(), "messages");
  }
}

void Generator::check_room(const std::vector<int32_t>& prompt) const {
  if (prompt.empty()) refuse("prompt", "the prompt has no tokens");
  if (static_cast<int64_t>(prompt.size()) >= engine_.context()) {
    throw ApiError(400,
                   fmt::format("the prompt is {} tokens long, and the context holds {}",
                               prompt.size(), engine_.context()),
                   "", "context_length_exceeded");
  }
}

Generator::Prepared Generator::prepare(const Request& request) const {
  Prepared out;
  out.options.max_tokens = request.max_tokens;
  out.options.sampling = sampling_options(request.sampling, text_.sampling());
  out.options.stop_tokens = text_.stop_tokens();
  out.options.logit_bias = request.sampling.logit_bias;
  out.options.logprobs = request.logprobs;
  out.rules.stop = request.stop;
  out.rules.logprobs = request.logprobs >= 0;
  out.rules.whole_calls = !request.stream;
  if (const auto* plain = std::get_if<PlainPrompts>(&request.prompt)) {
    for (const auto& prompt : plain->prompts) {
      const auto* text = std::get_if<std::string>(&prompt);
      out.prompts.push_back(text != nullptr ? text_.encode_text(*text, plain->parse_special)
                                            : std::get<std::vector<int32_t>>(prompt));
    }
    if (plain->logprobs) out.prompt_logprobs = request.logprobs;
    out.rules.stop_logprobs = out.rules.logprobs;
    out.grammar = grammars_.of_format(request.format);
  } else {
    const Chat& chat = std::get<Chat>(request.prompt);
    const bool tools = !chat.tools.empty() && chat.tool_choice.kind != ToolChoice::kNone;
    if (!tools && (chat.tool_choice.kind == ToolChoice::kRequired ||
                   chat.tool_choice.kind == ToolChoice::kNamed)) {
      refuse("tool_choice", "'tool_choice' needs 'tools'");
    }
    if (tools) {
      if (tool_format_ == text::ToolFormat::kNone) {
        refuse("tools", "this model's chat template does not know tools");
      }
      if (request.format.kind == AnswerFormat::kGrammar) {
        refuse("grammar", "'grammar' and 'tools' cannot be asked for together");
      }
      out.rules.tool_format = tool_format_;
      out.rules.tools = text::read_tools(chat.tools);
      out.grammar = grammars_.of_tools(tool_format_, callable(out.rules.tools, chat.tool_choice),
                                       chat.tool_choice, request.format);
    } else {
      out.grammar = grammars_.of_format(request.format);
    }
    out.prompts.push_back(encode(chat));
    out.options.think = text_.think_budget(chat.thinking.budget);
    if (out.options.think.open >= 0) {
      out.rules.think_open = out.options.think.open;
      out.rules.think_close = out.options.think.close.front();
    }
    out.rules.starts_inside = engine::ThinkTracker(out.options.think, out.prompts[0]).inside();
  }
  for (const std::vector<int32_t>& prompt : out.prompts) check_room(prompt);
  return out;
}

std::shared_ptr<Run> Generator::start(const Request& request, const std::string& id,
                                      const std::string& api, std::shared_ptr<AnswerSink> sink) {
  try {
    Prepared prepared = prepare(request);
    auto run =
        std::make_shared<LiveRun>(*this, id, api, std::move(prepared.rules), std::move(sink));
    {
      const std::lock_guard lock(mutex_);
      std::erase_if(runs_, [](const auto& other) { return other.expired(); });
      runs_.push_back(run);
    }
    run->submit(prepared, request.choices);
    return run;
  } catch (const Error& error) {
    throw api_error(error);
  }
}

std::vector<RunStatus> Generator::runs() const {
  std::vector<std::shared_ptr<LiveRun>> live;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& weak : runs_) {
      if (auto run = weak.lock()) live.push_back(std::move(run));
    }
  }
  std::vector<RunStatus> statuses;
  for (const auto& run : live) statuses.push_back(run->status());
  return statuses;
}

}  // namespace flashmoe::server
