#include "convert/quantize.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <thread>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/format_units.h"
#include "base/log.h"
#include "base/thread_pool.h"
#include "convert/kept_files.h"
#include "convert/mlx_config.h"
#include "convert/mlx_tensors.h"
#include "convert/new_folder.h"
#include "convert/recipe.h"
#include "convert/tensor_rewriter.h"
#include "convert/text_files.h"
#include "format/checkpoint.h"
#include "format/flash_moe_folder.h"
#include "format/safetensors_writer.h"
#include "model/checkpoint_config.h"

namespace flashmoe::convert {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kHeadroomBytes = uint64_t{16} << 20;  // headers, index and file system

Recipe find_recipe(const QuantizeOptions& options) {
  if (options.threads < 0) {
    throw Error(ErrorCode::kUsage, "threads are 0 (all) or more");
  }
  const RecipeChanges changes = {options.bits, options.group};
  return parse_recipe(recipe_text(options.recipe, options.bits.value_or(0)), options.recipe,
                      changes);
}

// Rounding what was rounded before costs quality twice.
void warn_of_quantized(const std::string& path, const std::vector<MlxTensor>& tensors) {
  const auto quantized = std::find_if(tensors.begin(), tensors.end(),
                                      [](const MlxTensor& t) { return t.quantised_before(); });
  if (quantized == tensors.end()) return;
  const format::MatrixInfo& matrix = quantized->matrices.front();
  log_warn(
      "{}: is quantised already ({} is {}); what was lost then stays lost, so quantise from the "
      "original where you can",
      path, matrix.name, quant::storage_name(matrix.storage, matrix.format));
}

void write_file(const fs::path& path, std::string_view text) {
  AtomicFile file(path.string());
  file.write(text);
  file.commit();
}

void write_weights(const format::Checkpoint& source, const std::vector<MlxTensor>& tensors,
                   const std::string& folder, ThreadPool& pool,
                   const TensorRewriter::Rounding& rounding) {
  std::vector<format::SafetensorsWriter::Tensor> stored;
  uint64_t total_bytes = 0, done_bytes = 0;
  for (const MlxTensor& tensor : tensors) {
    for (auto& part : tensor.stored()) stored.push_back(std::move(part));
    total_bytes += tensor.source_bytes();
  }
  format::SafetensorsWriter writer(folder, std::move(stored));
  Progress progress("quantising", total_bytes);
  TensorRewriter rewriter(source, pool, writer, rounding, [&](uint64_t bytes) {
    done_bytes += bytes;
    progress.update(done_bytes);
  });
  for (const MlxTensor& tensor : tensors) rewriter.write(tensor);
  writer.finish();
}

void report(const std::string& destination, const std::vector<MlxTensor>& tensors) {
  double weights = 0;
  uint64_t bytes = 0;
  for (const MlxTensor& tensor : tensors) {
    weights += static_cast<double>(tensor.rows() * tensor.cols);
    bytes += tensor.output_bytes();
  }
  log_info("{}: {} of weights, {:.2f} bits each", destination, format_bytes(bytes),
           8 * static_cast<double>(bytes) / weights);
}

}  // namespace

void quantize(const std::string& source_path, const std::string& destination,
              const QuantizeOptions& options) {
  const Recipe recipe = find_recipe(options);
  const auto source = format::Checkpoint::open(source_path);
  const model::ModelConfig config = model::read_model_config(*source);
  const auto [tensors, unused] = plan_mlx(*source, config, recipe);
  warn_of_quantized(source_path, tensors);
  const Importance importance =
      options.importance.empty() ? Importance() : Importance::read(options.importance);
  const std::vector<fs::path> kept = kept_files(format::flash_moe_folder(source->path()));
  const std::map<std::string, std::string> text = text_files(source->path());

  NewFolder folder(destination);
  uint64_t needed_bytes = kHeadroomBytes;
  for (const MlxTensor& tensor : tensors) needed_bytes += tensor.output_bytes();
  for (const fs::path& file : kept) needed_bytes += fs::file_size(file);
  folder.check_space(needed_bytes);

  const int cpus = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  ThreadPool pool(options.threads > 0 ? options.threads : cpus);
  write_weights(*source, tensors, folder.temporary_path().string(), pool,
                {recipe.rounding == Recipe::Rounding::kFitted, importance, config.tied_embeddings});
  for (const fs::path& file : kept) copy_whole(file, folder.temporary_path() / file.filename());
  for (const auto& [name, content] : text) {
    fs::create_directories((folder.temporary_path() / name).parent_path());
    write_file(folder.temporary_path() / name, content);
  }
  write_file(
      folder.temporary_path() / "config.json",
      mlx_config(model::config_json(*source), config, tensors, recipe.format).dump(2) + "\n");
  folder.commit();
  report(destination, tensors);
  if (!unused.empty()) {
    log_info("left out: {} tensors that generating text does not use, the first {}", unused.size(),
             unused.front());
  }
}

}  // namespace flashmoe::convert
