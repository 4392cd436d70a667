// Hash table from a token's spelling to its id. Grows only while it is filled.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace flashmoe::text {

class TokenMap {
 public:
  explicit TokenMap(size_t expected_tokens);

  // False when the text is there already; it keeps its id.
  bool insert(std::string_view text, int32_t id);
  // -1 when it is not there.
  int32_t find(std::string_view text) const;

 private:
  struct Slot {
    int32_t id = -1;
    uint32_t length = 0;
    size_t begin = 0;  // in texts_
  };
  size_t slot_of(std::string_view text) const;

  std::string texts_;
  std::vector<Slot> slots_;  // a power of two, at most half full
  size_t size_ = 0;
};

}  // namespace flashmoe::text
