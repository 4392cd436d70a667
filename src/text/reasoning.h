// Splits an answer into the reasoning between <think> and </think> and what follows. Owns the text
// that is not decided yet; the limit on the length of reasoning is the engine's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace flashmoe::text {

inline constexpr std::string_view kThinkOpen = "<think>";
inline constexpr std::string_view kThinkClose = "</think>";

// Whether a rendered prompt ends inside a section of reasoning that it opened.
bool ends_in_reasoning(std::string_view prompt);

// Reasoning is one section at the beginning of an answer; a <think> further on is text. The
// newlines inside both tags and after the closing one are the template's and belong to neither
// part.
class ReasoningSplitter {
 public:
  struct Piece {
    bool is_reasoning;
    std::string text;  // not empty
  };

  explicit ReasoningSplitter(bool starts_inside)
      : state_(starts_inside ? kReasoning : kBeginning) {}

  // What is certain now, in order.
  std::vector<Piece> push(std::string_view text);
  // The rest. A section that was never closed is reasoning.
  std::vector<Piece> finish();
  // Whether the next text is reasoning, as far as is known.
  bool inside() const { return state_ == kReasoning; }

 private:
  enum State { kBeginning, kReasoning, kAfter, kAnswer };
  void step(std::vector<Piece>* pieces, bool is_last);

  State state_;
  std::string pending_;
  bool began_ = false;  // the reasoning has had a character
};

}  // namespace flashmoe::text
