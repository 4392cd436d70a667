#include "kernels/make_backend.h"

#include "base/error.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/ref/ref_backend.h"

namespace flashmoe::kernels {

std::unique_ptr<Backend> make_backend(std::string_view name, ThreadPool& pool, bool exact) {
  if (name == "cpu") return std::make_unique<CpuBackend>(pool, exact);
  if (name == "ref") return std::make_unique<RefBackend>(pool);
  throw_error(ErrorCode::kUsage, "there is no backend '{}'; choose cpu or ref", name);
}

}  // namespace flashmoe::kernels
