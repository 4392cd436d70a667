// 128-bit digests (XXH3) that name and check what the prefix cache keeps. Owns the running state of
// one; no defence against people.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace flashmoe::engine {

struct Digest {
  uint64_t low = 0, high = 0;
  auto operator<=>(const Digest&) const = default;
  std::string hex() const;  // 32 digits
};

class DigestStream {
 public:
  DigestStream();
  ~DigestStream();
  DigestStream(const DigestStream&) = delete;
  DigestStream& operator=(const DigestStream&) = delete;

  void add(std::span<const std::byte> bytes);
  void add(std::string_view text);  // with its length: "ab", "c" is not "a", "bc"
  template <typename T>
  requires std::is_arithmetic_v<T>
  void add(T number) { add(std::as_bytes(std::span(&number, 1))); }
  Digest digest() const;  // of all so far; more may follow

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest digest_of(std::span<const std::byte> bytes);

}  // namespace flashmoe::engine
