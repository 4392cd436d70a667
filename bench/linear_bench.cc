// Products of prepared matrices from memory, against a plain sum over the same bytes.
//
// A buffer far larger than the caches holds matrices that are visited in random order, a whole
// matrix per visit, its row blocks spread over the threads. Sums and products take turns, matrix by
// matrix; the numbers are medians over visits, so that preemptions on a busy machine drop out.
#include <immintrin.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/thread_pool.h"
#include "kernels/cpu/layout.h"
#include "kernels/cpu/linear.h"
#include "quant/arithmetic.h"

namespace {

using namespace flashmoe;
using namespace flashmoe::kernels;

double seconds_of(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

__attribute__((target("avx512f"))) uint64_t sum_avx512(const std::byte* data, size_t bytes) {
  __m512i sums[4] = {};
  for (size_t i = 0; i + 256 <= bytes; i += 256) {
    for (int k = 0; k < 4; ++k) {
      sums[k] = _mm512_add_epi64(sums[k], _mm512_loadu_si512(data + i + k * 64));
    }
  }
  uint64_t lanes[32], total = 0;
  std::memcpy(lanes, sums, sizeof(lanes));
  for (uint64_t lane : lanes) total += lane;
  return total;
}

__attribute__((target("avx2"))) uint64_t sum_avx2(const std::byte* data, size_t bytes) {
  __m256i sums[4] = {};
  for (size_t i = 0; i + 128 <= bytes; i += 128) {
    for (int k = 0; k < 4; ++k) {
      const void* from = data + i + k * 32;
      sums[k] = _mm256_add_epi64(sums[k], _mm256_loadu_si256(static_cast<const __m256i*>(from)));
    }
  }
  uint64_t lanes[16], total = 0;
  std::memcpy(lanes, sums, sizeof(lanes));
  for (uint64_t lane : lanes) total += lane;
  return total;
}

uint64_t sum(const std::byte* data, size_t bytes) {
  return cpu::isa_supported(cpu::Isa::kAvx512) ? sum_avx512(data, bytes) : sum_avx2(data, bytes);
}

struct Options {
  int64_t rows = 1024, cols = 2048, mib = 512;
  int threads = 1, rounds = 7, batch = 1;
  bool exact = false;
};

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options), pool_(options.threads), buffer_(static_cast<size_t>(options.mib) << 20) {
    std::mt19937_64 random(1);
    for (size_t i = 0; i < buffer_.bytes(); i += 8) {
      const uint64_t bits = random() & 0x3fff3fff3fff3fff;  // as scales, finite
      std::memcpy(buffer_.data() + i, &bits, 8);
    }
  }

  void run(const quant::Format& format) {
    const Options& o = options_;
    const bool int8 = format.encoding == quant::Encoding::kAffine && !o.exact;
    const size_t row_bytes = int8 ? quant::int8_row_bytes(o.cols) : quant::float_row_bytes(o.cols);
    AlignedBuffer x(row_bytes * static_cast<size_t>(o.batch));
    std::vector<float> floats(static_cast<size_t>(o.cols)),
        y(static_cast<size_t>(o.rows * o.batch));
    for (int64_t i = 0; i < o.cols; ++i) floats[i] = static_cast<float>(i % 19) - 9;
    for (int i = 0; i < o.batch; ++i) {
      (int8 ? quant::round_row : quant::load_row)(floats.data(), o.cols, x.data() + i * row_bytes);
    }
    const cpu::LinearKernels& kernels = cpu::linear_kernels();
    const cpu::LinearFunction linear = int8 ? kernels.linear_int8 : kernels.linear_float;

    const size_t bytes = cpu::prepared_bytes(format, o.rows, o.cols);
    std::vector<size_t> order(buffer_.bytes() / bytes);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(2));
    const int64_t blocks = cpu::row_blocks(o.rows);
    // Each thread takes its share of a matrix.
    const auto share = [&](int task) { return blocks * task / o.threads; };
    const size_t block_bytes = bytes / static_cast<size_t>(blocks);
    std::vector<double> sums, products;  // seconds of each visit
    for (int round = 0; round < o.rounds; ++round) {
      for (size_t i = 0; i < order.size(); ++i) {
        const std::byte* summed = buffer_.data() + order[i] * bytes;
        const size_t other = order[(i + order.size() / 2) % order.size()];
        const Matrix matrix{format, o.rows, o.cols, buffer_.data() + other * bytes};
        sums.push_back(seconds_of([&] {
          pool_.run(o.threads, [&](int t) noexcept {
            const size_t begin = static_cast<size_t>(share(t)) * block_bytes;
            const size_t end = static_cast<size_t>(share(t + 1)) * block_bytes;
            sink_ += sum(summed + begin, end - begin);
          });
        }));
        products.push_back(seconds_of([&] {
          pool_.run(o.threads, [&](int t) noexcept {
            linear(matrix, x.data(), o.batch, share(t), share(t + 1), y.data(), o.rows);
          });
        }));
      }
    }
    const double total = static_cast<double>(bytes), macs = 1.0 * o.rows * o.cols * o.batch;
    std::printf("%-15s %-5s %5.1f GB/s  %5.1f%% of a plain sum (%.1f GB/s)  %6.1f GMAC/s\n",
                format.name().c_str(), int8 ? "int8" : "float", total / median(products) / 1e9,
                100 * median(sums) / median(products), total / median(sums) / 1e9,
                macs / median(products) / 1e9);
  }

  // From the file's layout, in random order; one thread.
  void run_prepare(const quant::Format& format) {
    const Options& o = options_;
    const size_t bytes = cpu::prepared_bytes(format, o.rows, o.cols);
    AlignedBuffer slot(bytes);
    std::vector<double> times;
    const size_t matrices = buffer_.bytes() / bytes, count = std::min<size_t>(matrices, 64);
    const size_t code_bytes = format.code_bytes(o.cols) * static_cast<size_t>(o.rows);
    const size_t scale_bytes = format.scale_bytes(o.cols) * static_cast<size_t>(o.rows);
    for (int round = 0; round < o.rounds; ++round) {
      for (size_t i = 0; i < count; ++i) {
        const std::byte* data = buffer_.data() + i * 7919 % matrices * bytes;
        const FileMatrix source{
            format, o.rows, o.cols, data, data + code_bytes, data + code_bytes + scale_bytes};
        times.push_back(seconds_of([&] { cpu::prepare(source, 0, o.rows, slot.data()); }));
      }
    }
    std::printf("%-15s prepare %5.2f GB/s\n", format.name().c_str(),
                static_cast<double>(bytes) / median(times) / 1e9);
  }

 private:
  Options options_;
  ThreadPool pool_;
  AlignedBuffer buffer_;
  std::atomic<uint64_t> sink_{0};
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  bool prepare = false;
  CLI::App app("Products of prepared matrices from memory. FLASHMOE_ISA picks the kernels.");
  app.add_option("--rows", options.rows, "outputs, a multiple of 16");
  app.add_option("--cols", options.cols, "inputs, a multiple of 128");
  app.add_option("--mib", options.mib, "size of the buffer");
  app.add_option("--threads", options.threads);
  app.add_option("--rounds", options.rounds);
  app.add_option("--batch", options.batch, "activation rows");
  app.add_flag("--exact", options.exact, "float32 activations for every format");
  app.add_flag("--prepare", prepare, "measure the way into the layout instead");
  CLI11_PARSE(app, argc, argv);
  Bench bench(options);
  std::printf("%s, %lld x %lld, %d rows of activations, %d threads\n", cpu::linear_kernels().name,
              static_cast<long long>(options.rows), static_cast<long long>(options.cols),
              options.batch, options.threads);
  using quant::DType, quant::Encoding, quant::Format;
  std::vector<Format> formats;
  for (int bits : {2, 3, 4, 5, 6, 8}) {
    for (int group : {32, 64, 128})
      formats.push_back({Encoding::kAffine, DType::kBf16, bits, group});
  }
  for (DType type : {DType::kBf16, DType::kF16, DType::kF32}) {
    formats.push_back({Encoding::kPlain, type, 0, 0});
  }
  for (const Format& format : formats) {
    prepare ? bench.run_prepare(format) : bench.run(format);
  }
}
