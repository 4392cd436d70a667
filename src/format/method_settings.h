// The settings of another quantisation tool in config.json, read for one tensor, whose name stands
// in the messages. Owns the checks of kind and range; what a setting means lies in *_matrix.cc.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "format/matrix_tensors.h"

namespace flashmoe::format {

class MethodSettings {
 public:
  MethodSettings(const MatrixTensors& tensors, const TensorInfo& tensor)
      : tensors_(tensors), tensor_(tensor), settings_(tensors.quantization().settings) {}
  // A section within the settings.
  MethodSettings(const MethodSettings& outer, const nlohmann::json& section)
      : tensors_(outer.tensors_), tensor_(outer.tensor_), settings_(section) {}

  const nlohmann::json* find(const char* key) const;  // nullptr where it is missing or null
  // Error kCorrupt where the value is of another kind.
  bool boolean(const char* key, bool otherwise) const;
  int64_t number(const char* key, int64_t otherwise) const;  // -1 to 2^31
  std::string text(const char* key, const std::string& otherwise) const;

  // Refuses what compressed-tensors may have done besides: transforms of weights or activations.
  void refuse_transforms() const;
  // Says that the value of the setting is not supported.
  [[noreturn]] void refuse(const char* key) const;

 private:
  [[noreturn]] void fail(const char* key, const char* kind) const;

  const MatrixTensors& tensors_;
  const TensorInfo& tensor_;
  const nlohmann::json& settings_;
};

}  // namespace flashmoe::format
