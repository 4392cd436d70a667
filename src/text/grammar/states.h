// All ways in which a text can be underway in an automaton, as numbered states: a state is a set of
// places, a place a node and the calls to return to. States are made when they are first reached
// and remembered with their transitions, so following a text again costs a look in a table per
// byte.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "text/grammar/automaton.h"

namespace flashmoe::text::grammar {

class States {
 public:
  using State = int32_t;
  static constexpr State kDead = -1;  // no text that goes on can match

  // The automaton must outlive it, and its start must have an end.
  explicit States(const Automaton& automaton);

  State start() const { return 0; }
  State after_byte(State state, uint8_t byte) {
    int32_t& next = byte_transitions_[static_cast<size_t>(state) * classes_ + class_of_[byte]];
    return next == kUnknown ? make_after_byte(state, byte) : next;
  }
  State after_bytes(State state, std::string_view bytes);
  State after_token(State state, int32_t special_token);
  // Special tokens that may come next.
  std::vector<int32_t> tokens(State state) const;
  bool may_end(State state) const { return at(state).may_end; }
  // Tokens that complete the text, as far as a way is known; 0 where it may end.
  int64_t tokens_to_end(State state) const { return at(state).tokens_to_end; }

  struct RunPlace {
    int32_t set = -1;  // of Automaton::sets; -1: the state is in no run
    int64_t chars = 0;
    int64_t longest = 0;  // the most tokens_to_end after any number of these characters
  };
  // The run of a place that takes the most characters, of the largest set among equals.
  RunPlace longest_run(State state) const;

  // Bytes of memory in use, about.
  size_t bytes() const { return bytes_; }

 private:
  static constexpr int32_t kUnknown = -2;
  struct Place {
    int32_t node;
    int32_t frame;  // index into frames_, or -1: the root rule
    bool operator==(const Place&) const = default;
  };
  struct Frame {
    int32_t node;  // to go on at
    int32_t parent;
    int64_t tokens_to_end;  // of it and all frames below
  };
  struct StateInfo {
    std::vector<Place> places;
    bool may_end = false;
    int64_t tokens_to_end = kNever;
  };

  const StateInfo& at(State state) const { return states_[static_cast<size_t>(state)]; }
  int64_t frame_cost(int32_t frame) const {
    return frame < 0 ? 0 : frames_[static_cast<size_t>(frame)].tokens_to_end;
  }
  int64_t cost(const Place& place) const;
  State make_after_byte(State state, uint8_t byte);
  void enter(Place place);
  State make_state();
  int32_t push(int32_t node, int32_t parent);

  const Automaton& automaton_;
  size_t classes_ = 0;
  uint8_t class_of_[256] = {};  // bytes that no edge tells apart are one class
  std::vector<Frame> frames_;
  std::unordered_map<uint64_t, int32_t> frame_ids_;  // by node and parent
  std::vector<StateInfo> states_;
  std::unordered_multimap<uint64_t, State> state_ids_;  // by hash of the places
  std::vector<int32_t> byte_transitions_;               // [states, classes]
  size_t bytes_ = 0;
  // Of the state being made.
  StateInfo made_;
  std::unordered_set<uint64_t> entered_;
  std::vector<Place> open_;
};

}  // namespace flashmoe::text::grammar
