// What a machine is called in results and keys. Owns nothing.
#pragma once

#include <string>

namespace flashmoe::limits {

// Processor, number of CPUs and instruction set: "AMD EPYC x2 avx512".
std::string machine_name();

}  // namespace flashmoe::limits
