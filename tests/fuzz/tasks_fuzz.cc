// A file of tasks is other people's data, and so is every answer to them. The input is the file
// and, after a byte 0xff, an answer.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "eval/tasks.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace flashmoe;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(input.find('\xff'), size);
  const std::string_view answer = input.substr(std::min(end + 1, size));
  CHECK(eval::answer_text(answer).size() <= answer.size());
  try {
    for (const eval::Task& task : eval::parse_tasks(input.substr(0, end), "tasks")) {
      eval::is_right(task, answer);
      eval::has_valid_json(task, answer);
    }
  } catch (const Error&) {
  }
  return 0;
}
