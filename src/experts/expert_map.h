// Where every expert is and how much it is used, at one moment: what a heat map shows.
#pragma once

#include <cstdint>
#include <vector>

namespace flashmoe::experts {

struct ExpertMap {
  struct Expert {
    bool resident = false;  // in the cache in memory; else on disk
    float use = 0;          // decayed count of the tokens that used it (see EvictionPolicy)
    int64_t hits = 0;       // steps that needed it and found it resident
    int64_t misses = 0;     // and those that read it
  };
  int layers = 0;               // of those that have experts
  int experts = 0;              // of one layer
  std::vector<Expert> entries;  // [layers, experts]

  const Expert& at(int layer, int expert) const {
    return entries[static_cast<size_t>(layer) * static_cast<size_t>(experts) +
                   static_cast<size_t>(expert)];
  }
};

}  // namespace flashmoe::experts
