#include "text/grammar/states.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace flashmoe::text::grammar {

namespace {

// A grammar may be so ambiguous that its places double with every byte. Those that end soonest are
// kept: what matches then still matches the grammar.
constexpr size_t kMaxPlaces = 4096;

uint64_t key_of(int32_t a, int32_t b) {
  return static_cast<uint64_t>(static_cast<uint32_t>(a)) << 32 | static_cast<uint32_t>(b);
}

}  // namespace

States::States(const Automaton& automaton) : automaton_(automaton) {
  bool boundary[257] = {};
  for (int32_t id = 0; id < automaton.node_count(); ++id) {
    for (const Edge& edge : automaton.edges(id)) {
      if (edge.kind != Edge::kBytes) continue;
      boundary[edge.first] = true;
      boundary[edge.last + 1] = true;
    }
  }
  uint8_t number = 0;
  for (int byte = 0; byte < 256; ++byte) {
    if (byte > 0 && boundary[byte]) ++number;
    class_of_[byte] = number;
  }
  classes_ = size_t{number} + 1;
  enter({automaton.start(), -1});
  CHECK(make_state() == 0);
}

int64_t States::cost(const Place& place) const {
  return std::min(kNever, automaton_.node(place.node).tokens_to_end + frame_cost(place.frame));
}

int32_t States::push(int32_t node, int32_t parent) {
  const auto [found, added] =
      frame_ids_.try_emplace(key_of(node, parent), static_cast<int32_t>(frames_.size()));
  if (added) {
    const int64_t tokens =
        std::min(kNever, automaton_.node(node).tokens_to_end + frame_cost(parent));
    frames_.push_back({node, parent, tokens});
    bytes_ += sizeof(Frame) + 64;
  }
  return found->second;
}

// Adds the places that are reached from this one without taking anything.
void States::enter(Place first) {
  open_.push_back(first);
  while (!open_.empty()) {
    const Place place = open_.back();
    open_.pop_back();
    // What cannot be completed is not underway.
    if (cost(place) >= kNever) continue;
    if (!entered_.insert(key_of(place.node, place.frame)).second) continue;
    const Node& node = automaton_.node(place.node);
    if (node.is_end) {
      if (place.frame < 0) {
        made_.may_end = true;
      } else {
        const Frame& frame = frames_[static_cast<size_t>(place.frame)];
        open_.push_back({frame.node, frame.parent});
      }
    }
    bool takes = false;
    for (const Edge& edge : automaton_.edges(place.node)) {
      switch (edge.kind) {
        case Edge::kBytes:
        case Edge::kToken:
          takes = true;
          break;
        case Edge::kEmpty:
          open_.push_back({edge.target, place.frame});
          break;
        case Edge::kCall: {
          // A call at the end of a rule returns to where the rule itself would.
          const bool is_last = automaton_.node(edge.target).is_end;
          open_.push_back({edge.value, is_last ? place.frame : push(edge.target, place.frame)});
          break;
        }
      }
    }
    if (takes) made_.places.push_back(place);
  }
}

// The state of the places that were entered.
States::State States::make_state() {
  entered_.clear();
  StateInfo made = std::exchange(made_, {});
  if (made.places.empty() && !made.may_end) return kDead;
  if (made.places.size() > kMaxPlaces) {
    std::stable_sort(made.places.begin(), made.places.end(),
                     [&](const Place& a, const Place& b) { return cost(a) < cost(b); });
    made.places.resize(kMaxPlaces);
  }
  uint64_t hash = made.may_end ? 1 : 2;
  for (const Place& place : made.places) {
    hash = (hash ^ key_of(place.node, place.frame)) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 29;
    made.tokens_to_end = std::min(made.tokens_to_end, cost(place));
  }
  if (made.may_end) made.tokens_to_end = 0;
  const auto [first, last] = state_ids_.equal_range(hash);
  for (auto same = first; same != last; ++same) {
    const StateInfo& other = at(same->second);
    if (other.may_end == made.may_end && other.places == made.places) return same->second;
  }
  const auto id = static_cast<State>(states_.size());
  bytes_ +=
      sizeof(StateInfo) + made.places.size() * sizeof(Place) + classes_ * sizeof(int32_t) + 64;
  states_.push_back(std::move(made));
  state_ids_.emplace(hash, id);
  byte_transitions_.resize(byte_transitions_.size() + classes_, kUnknown);
  return id;
}

States::State States::make_after_byte(State state, uint8_t byte) {
  for (const Place& place : at(state).places) {
    for (const Edge& edge : automaton_.edges(place.node)) {
      if (edge.kind == Edge::kBytes && edge.first <= byte && byte <= edge.last) {
        enter({edge.target, place.frame});
      }
    }
  }
  const State next = make_state();
  byte_transitions_[static_cast<size_t>(state) * classes_ + class_of_[byte]] = next;
  return next;
}

States::State States::after_bytes(State state, std::string_view bytes) {
  for (const char byte : bytes) {
    if (state == kDead) break;
    state = after_byte(state, static_cast<uint8_t>(byte));
  }
  return state;
}

States::State States::after_token(State state, int32_t special_token) {
  for (const Place& place : at(state).places) {
    for (const Edge& edge : automaton_.edges(place.node)) {
      if (edge.kind == Edge::kToken && edge.value == special_token) {
        enter({edge.target, place.frame});
      }
    }
  }
  return make_state();
}

std::vector<int32_t> States::tokens(State state) const {
  std::vector<int32_t> tokens;
  for (const Place& place : at(state).places) {
    for (const Edge& edge : automaton_.edges(place.node)) {
      if (edge.kind == Edge::kToken) tokens.push_back(edge.value);
    }
  }
  std::sort(tokens.begin(), tokens.end());
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  return tokens;
}

States::RunPlace States::longest_run(State state) const {
  RunPlace longest;
  for (const Place& place : at(state).places) {
    const Run& run = automaton_.node(place.node).run;
    if (run.set < 0 || run.chars <= longest.chars) continue;
    longest = {run.set, run.chars, std::min(kNever, run.longest + frame_cost(place.frame))};
  }
  return longest;
}

}  // namespace flashmoe::text::grammar
