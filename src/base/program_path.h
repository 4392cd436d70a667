// Where the running program lies. Owns nothing.
#pragma once

#include <string>

namespace flashmoe {

// Through symbolic links; empty if the system does not say.
std::string program_path();

}  // namespace flashmoe
