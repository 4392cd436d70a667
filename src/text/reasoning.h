// Splits an answer into the reasoning between its two markers, <think> and </think>, and what
// follows. Owns the text that is not decided yet. Which tokens are markers, and when a section is
// too long, is the engine's to know: text that only reads like a marker is none.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace flashmoe::text {

// Reasoning is one section at the beginning of an answer. The newlines inside both markers and
// after the closing one are the template's and belong to neither part.
class ReasoningSplitter {
 public:
  struct Piece {
    bool is_reasoning;
    std::string text;  // not empty
  };

  // `starts_inside`: the prompt has opened the section.
  explicit ReasoningSplitter(bool starts_inside)
      : state_(starts_inside ? kReasoning : kBeginning) {}

  // What is certain now, in order.
  std::vector<Piece> push(std::string_view text);
  // The markers, each where the state allows it.
  void open();
  void close();
  // The rest. A section that was never closed is reasoning.
  std::vector<Piece> finish();

  bool may_open() const { return state_ == kBeginning; }
  bool inside() const { return state_ == kReasoning; }
  // Between the closing marker and the answer's first character.
  bool before_answer() const { return state_ == kAfter; }

 private:
  enum State { kBeginning, kReasoning, kAfter, kAnswer };

  State state_;
  std::string pending_;
  bool began_ = false;  // the reasoning has had a character
};

}  // namespace flashmoe::text
