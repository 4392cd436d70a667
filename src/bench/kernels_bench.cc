#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "bench/benches.h"
#include "kernels/cpu/layout.h"
#include "kernels/cpu/linear.h"
#include "limits/machine_name.h"
#include "limits/probe_loops.h"
#include "quant/arithmetic.h"

namespace flashmoe::bench {

namespace {

using kernels::cpu::Isa;

constexpr int64_t kCols = 2048, kRows[] = {512, 1024, 2048, 4096}, kBatchRows = 1024;
constexpr int64_t kBatches[] = {1, 2, 4, 8, 32, 128};
constexpr size_t kBufferBytes = size_t{256} << 20;   // far more than caches hold
constexpr int64_t kMacsOfVisits = int64_t{1} << 32;  // of one measurement with many rows

double seconds_of(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The instruction sets worth measuring: those with vectors, or the one that FLASHMOE_ISA names.
std::vector<Isa> find_isas() {
  const Isa chosen = kernels::cpu::chosen_isa();
  const char* forced = std::getenv("FLASHMOE_ISA");
  if (forced != nullptr && *forced != '\0') return {chosen};
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kAvx512, Isa::kAvx2, Isa::kNeon}) {
    if (kernels::cpu::isa_supported(isa)) isas.push_back(isa);
  }
  return isas.empty() ? std::vector<Isa>{chosen} : isas;
}

struct NamedFormat {
  std::string name;  // as --format has it
  quant::Format format;
};

std::vector<NamedFormat> all_formats() {
  using quant::DType, quant::Encoding;
  std::vector<NamedFormat> list;
  for (int bits : {2, 3, 4, 5, 6, 8}) {
    list.push_back({fmt::format("{}bit", bits), {Encoding::kAffine, DType::kBf16, bits, 64}});
  }
  list.push_back({"mxfp4", {Encoding::kFloats, DType::kF8E8M0, 4, 32}});
  list.push_back({"nvfp4", {Encoding::kFloats, DType::kF8E4M3, 4, 16}});
  list.push_back({"mxfp8", {Encoding::kFloats, DType::kF8E8M0, 8, 32}});
  list.push_back({"fp8", {Encoding::kFloats, DType::kF32, 8, 128}});
  list.push_back({"bf16", {Encoding::kPlain, DType::kBf16, 0, 0}});
  for (uint32_t id = 0; id < 64; ++id) {
    const auto type = quant::block_type(id);
    if (!type) continue;
    const quant::Format format = quant::Format::of_blocks(*type);
    std::string name = format.name();
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    // As in MLX's files and in GGUF's they are two formats.
    if (name == "mxfp4" || name == "nvfp4") name = "gguf-" + name;
    list.push_back({name, format});
  }
  return list;
}

// Those of `names`, in their order; all of them where there are none.
std::vector<quant::Format> formats(const std::vector<std::string>& names) {
  const std::vector<NamedFormat> known = all_formats();
  std::vector<quant::Format> list;
  for (const std::string& name : names) {
    const auto named = std::find_if(known.begin(), known.end(), [&](const NamedFormat& f) {
      return std::equal(f.name.begin(), f.name.end(), name.begin(), name.end(),
                        [](unsigned char a, unsigned char b) { return a == std::tolower(b); });
    });
    if (named == known.end()) {
      std::string all;
      for (const NamedFormat& f : known) all += (all.empty() ? "" : ", ") + f.name;
      throw_error(ErrorCode::kUsage, "--format: no format {}; there are {}", name, all);
    }
    list.push_back(named->format);
  }
  if (names.empty()) {
    for (const NamedFormat& f : known) list.push_back(f.format);
  }
  return list;
}

class Products {
 public:
  Products(int threads, int repeat, const StopCheck& stop)
      : pool_(threads), buffer_(kBufferBytes), repeat_(repeat), stop_(stop) {
    std::mt19937_64 random(1);
    for (size_t i = 0; i < buffer_.bytes(); i += 8) {
      const uint64_t bits = random() & 0x3fff3fff3fff3fff;  // as scales, finite
      std::memcpy(buffer_.data() + i, &bits, 8);
    }
  }

  int threads() const { return pool_.threads(); }

  struct Rates {
    double product_bytes_s = 0, sum_bytes_s = 0, ops_s = 0;
  };

  // Products of matrices in random order with `batch` rows of activations, and plain sums over
  // others of them, by turns; medians over the visits, so that preemptions drop out.
  // `exact`: with float32 activations.
  Rates measure(const quant::Format& format, Isa isa, int64_t rows, int64_t batch,
                bool exact = false) {
    if (stop_ && stop_()) throw Error(ErrorCode::kCancelled, "stopped");
    const bool split = exact && kernels::cpu::takes_int8(format);
    const size_t row_bytes =
        split ? quant::split_row_bytes(kCols) : kernels::cpu::operand_row_bytes(format, kCols);
    AlignedBuffer x(row_bytes * static_cast<size_t>(batch));
    std::vector<float> floats(kCols), y(static_cast<size_t>(rows * batch));
    for (size_t i = 0; i < floats.size(); ++i) floats[i] = static_cast<float>(i % 19) - 9;
    for (int64_t i = 0; i < batch; ++i) {
      std::byte* row = x.data() + static_cast<size_t>(i) * row_bytes;
      if (kernels::cpu::takes_int8(format)) {
        (split ? quant::split_row : quant::round_row)(floats.data(), kCols, row);
      } else {
        std::memcpy(row, floats.data(), kCols * sizeof(float));
      }
    }
    const kernels::cpu::LinearKernels& table = kernels::cpu::linear_kernels(isa);
    const auto sum = limits::probe_loops(isa).sum;

    const size_t bytes = quant::interleaved_bytes(format, rows, kCols);
    std::vector<size_t> order(buffer_.bytes() / bytes);
    std::iota(order.begin(), order.end(), size_t{0});
    std::shuffle(order.begin(), order.end(), std::mt19937(2));
    const size_t visits = std::clamp<size_t>(
        static_cast<size_t>(kMacsOfVisits / (rows * kCols * batch)), 8, order.size());
    const int64_t blocks = kernels::cpu::row_blocks(rows);
    const size_t block_bytes = bytes / static_cast<size_t>(blocks);
    const int threads = pool_.threads();
    const auto share = [&](int task) { return blocks * task / threads; };
    std::vector<double> sums, products;  // seconds of each visit
    for (int round = 0; round < repeat_; ++round) {
      for (size_t i = 0; i < visits; ++i) {
        const std::byte* summed = buffer_.data() + order[i] * bytes;
        const size_t other = order[(i + order.size() / 2) % order.size()];
        const kernels::Matrix matrix{format, rows, kCols, buffer_.data() + other * bytes};
        sums.push_back(seconds_of([&] {
          pool_.run(threads, [&](int t) noexcept {
            const size_t begin = static_cast<size_t>(share(t)) * block_bytes;
            const size_t end = static_cast<size_t>(share(t + 1)) * block_bytes;
            sink_ += sum(summed + begin, (end - begin) / limits::kSumStep * limits::kSumStep);
          });
        }));
        products.push_back(seconds_of([&] {
          pool_.run(threads, [&](int t) noexcept {
            if (split) {
              linear_split(table, matrix, x.data(), batch, share(t), share(t + 1), y.data(), rows);
            } else {
              table.linear(matrix, x.data(), batch, share(t), share(t + 1), y.data(), rows);
            }
          });
        }));
      }
    }
    const double product_s = median(products);
    return {static_cast<double>(bytes) / product_s, static_cast<double>(bytes) / median(sums),
            2.0 * static_cast<double>(rows * kCols * batch) / product_s};
  }

 private:
  ThreadPool pool_;
  AlignedBuffer buffer_;
  int repeat_;
  const StopCheck& stop_;
  std::atomic<uint64_t> sink_{0};
};

}  // namespace

Report bench_kernels(const BenchOptions& options) {
  const std::vector<quant::Format> chosen = formats(options.formats);
  const quant::Format of_figure = options.formats.empty() ? formats({"4bit"})[0] : chosen[0];
  Products products(compute_threads(options.engine), options.repeat, options.stop);
  const std::vector<Isa> isas = find_isas();
  Report report;
  report.name = "kernels";
  report.setting = {{"threads", products.threads()}, {"cols", kCols}};
  report.unit = "GB/s";
  report.lines.push_back(fmt::format(
      "kernels   {}, {} threads: one row of activations, beside a plain sum over the same bytes; "
      "exact: of float32",
      limits::machine_name(), products.threads()));
  for (const quant::Format& format : chosen) {
    for (Isa isa : isas) {
      std::string line = fmt::format("{:<18}{:<8}", format.name(), kernels::cpu::isa_name(isa));
      for (int64_t rows : kRows) {
        const Products::Rates r = products.measure(format, isa, rows, 1);
        const double fraction = r.product_bytes_s / r.sum_bytes_s;
        report.figures["matvec"].push_back({{"format", format.name()},
                                            {"isa", kernels::cpu::isa_name(isa)},
                                            {"rows", rows},
                                            {"gb_s", r.product_bytes_s / 1e9},
                                            {"limit_gb_s", r.sum_bytes_s / 1e9},
                                            {"fraction", fraction}});
        line += fmt::format("  {}: {:5.1f} GB/s {:5.1f} %", rows, r.product_bytes_s / 1e9,
                            100 * fraction);
        // The figure for the history: 4 bits or what was asked for first, 1024 rows, the best
        // instruction set.
        if (format == of_figure && rows == kBatchRows && isa == isas.front()) {
          report.figure = r.product_bytes_s / 1e9;
          report.limit = r.sum_bytes_s / 1e9;
        }
      }
      const Products::Rates exact = products.measure(format, isa, kBatchRows, 1, true);
      const double fraction = exact.product_bytes_s / exact.sum_bytes_s;
      report.figures["exact"].push_back({{"format", format.name()},
                                         {"isa", kernels::cpu::isa_name(isa)},
                                         {"rows", kBatchRows},
                                         {"gb_s", exact.product_bytes_s / 1e9},
                                         {"limit_gb_s", exact.sum_bytes_s / 1e9},
                                         {"fraction", fraction}});
      line += fmt::format("  exact {}: {:5.1f} GB/s {:5.1f} %", kBatchRows,
                          exact.product_bytes_s / 1e9, 100 * fraction);
      report.lines.push_back(line);
    }
  }
  LimitMeter meter(products.threads());
  report.lines.push_back(fmt::format(
      "more rows of activations, {} x {}: Gop/s and share of the int8 peak", kBatchRows, kCols));
  for (const quant::Format& format : chosen) {
    std::string line =
        fmt::format("{:<18}{:<8}", format.name(), kernels::cpu::isa_name(isas.front()));
    for (int64_t batch : kBatches) {
      const double before = meter.measure(false).int8_ops_s;
      const Products::Rates r = products.measure(format, isas.front(), kBatchRows, batch);
      const double peak = (before + meter.measure(false).int8_ops_s) / 2;
      report.figures["batch"].push_back({{"format", format.name()},
                                         {"isa", kernels::cpu::isa_name(isas.front())},
                                         {"rows", batch},
                                         {"int8_gops_s", r.ops_s / 1e9},
                                         {"limit_gops_s", peak / 1e9},
                                         {"fraction", r.ops_s / peak}});
      line += fmt::format("  {}: {:.0f} {:.1f} %", batch, r.ops_s / 1e9, 100 * r.ops_s / peak);
    }
    report.lines.push_back(line);
  }
  report.figures["gb_s"] = report.figure;
  report.figures["limit_gb_s"] = report.limit;
  report.figures["fraction"] = report.fraction();
  return report;
}

}  // namespace flashmoe::bench
