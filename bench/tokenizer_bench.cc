// Encoding and decoding speed on one core: tokenizer_bench tokenizer.json text-file...
// Prints MB of text per second of CPU time, best of five after one warm-up run; a file is repeated
// up to 8 MB.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <sstream>

#include "text/tokenizer.h"

namespace {

double cpu_s() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

}  // namespace

int main(int argc, char** argv) {
  using flashmoe::text::Tokenizer;
  constexpr size_t kTextBytes = 8'000'000;
  constexpr int kRuns = 6;
  if (argc < 3) {
    fmt::print(stderr, "usage: tokenizer_bench tokenizer.json text-file...\n");
    return 2;
  }
  double start_s = cpu_s();
  const Tokenizer tokenizer = Tokenizer::from_file(argv[1]);
  fmt::print("load: {:.0f} ms\n", 1e3 * (cpu_s() - start_s));
  for (int arg = 2; arg < argc; ++arg) {
    std::ostringstream file;
    file << std::ifstream(argv[arg]).rdbuf();
    std::string text = file.str();
    if (text.empty()) continue;
    while (text.size() < kTextBytes) text += text;
    text.resize(kTextBytes);
    std::vector<int32_t> ids;
    double encode_s = 1e9, decode_s = 1e9;
    size_t decoded_bytes = 0;
    for (int run = 0; run < kRuns; ++run) {
      start_s = cpu_s();
      ids = tokenizer.encode(text, false);
      if (run > 0) encode_s = std::min(encode_s, cpu_s() - start_s);
      start_s = cpu_s();
      decoded_bytes = tokenizer.decode(ids, false).size();
      if (run > 0) decode_s = std::min(decode_s, cpu_s() - start_s);
    }
    fmt::print("{}: {:.2f} bytes/token, encode {:.1f} MB/s, decode {:.1f} MB/s\n", argv[arg],
               double(text.size()) / double(ids.size()), 1e-6 * double(text.size()) / encode_s,
               1e-6 * double(decoded_bytes) / decode_s);
  }
}
