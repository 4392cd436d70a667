#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "engine/engine_parts.h"

namespace flashmoe {

Session::Session(Engine& engine)
    : engine_(engine),
      parts_(new Parts{model::State(engine.parts_->state_shape, *engine.parts_->pages),
                       {},
                       std::vector<float>(static_cast<size_t>(engine.vocab())),
                       false}) {}

Session::~Session() = default;

const std::vector<int32_t>& Session::tokens() const { return parts_->tokens; }
std::span<const float> Session::logits() const { return parts_->logits; }
bool Session::has_logits() const { return parts_->has_logits; }

void Session::clear() {
  parts_->state.clear();
  parts_->tokens.clear();
  parts_->has_logits = false;
}

void Session::sync(std::span<const int32_t> tokens, const StopCheck& stop) {
  CHECK(!tokens.empty());
  // A recurrent state cannot go back, so what was run must be a prefix; and at least one token
  // must run to give logits.
  const std::vector<int32_t>& held = parts_->tokens;
  if (held.size() >= tokens.size() || !std::equal(held.begin(), held.end(), tokens.begin())) {
    clear();
  }
  const size_t chunk = static_cast<size_t>(engine_.chunk());
  while (held.size() < tokens.size()) {
    const size_t n = std::min(chunk, tokens.size() - held.size());
    const bool last = held.size() + n == tokens.size();
    const Engine::StepItem item{this, tokens.subspan(held.size(), n), last};
    engine_.step({&item, 1}, stop);
  }
}

SessionSnapshot Session::snapshot() const {
  return SessionSnapshot(std::unique_ptr<SessionSnapshot::Parts>(
      new SessionSnapshot::Parts{parts_->state.snapshot(), parts_->tokens,
                                 has_logits() ? parts_->logits : std::vector<float>()}));
}

void Session::restore(const SessionSnapshot& snapshot) {
  parts_->state.restore(snapshot.parts_->state);
  parts_->tokens = snapshot.parts_->tokens;
  parts_->has_logits = !snapshot.parts_->logits.empty();
  if (parts_->has_logits) parts_->logits = snapshot.parts_->logits;
}

SessionSnapshot::SessionSnapshot(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
SessionSnapshot::~SessionSnapshot() = default;
SessionSnapshot::SessionSnapshot(SessionSnapshot&&) noexcept = default;
SessionSnapshot& SessionSnapshot::operator=(SessionSnapshot&&) noexcept = default;
const std::vector<int32_t>& SessionSnapshot::tokens() const { return parts_->tokens; }

}  // namespace flashmoe
