// What a thread does between two looks at something that another is about to change.
#pragma once

namespace flashmoe {

inline void spin_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace flashmoe
