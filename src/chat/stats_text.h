// What /stats says, for people. Owns nothing but the words.
#pragma once

#include <string>

#include "chat/conversation.h"

namespace flashmoe::chat {

// Some lines; `stats` is a flashmoe server's.
std::string stats_text(const Json& stats);

}  // namespace flashmoe::chat
