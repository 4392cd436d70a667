// The sizes and switches of a model, from config.json. Owns their names, defaults and bounds;
// knows no tensors.
//
// Absent keys take the defaults of transformers' configuration classes. What this program would
// compute wrongly (rope scaling, sliding windows, biases, ...) is refused.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace flashmoe::model {

enum class Family { kQwen3Moe, kQwen3Next, kQwen35Moe };
enum class LayerKind { kAttention, kDeltaNet };

const char* family_name(Family family);  // "qwen3_moe"

// Every size is at least 1 unless its comment says otherwise. The bounds are such that the product
// of all the sizes of one weight stack, in bytes, fits int64_t.
struct ModelConfig {
  Family family = Family::kQwen3Moe;
  std::string model_type;  // as in config.json, of the text model

  int layers = 0;                // up to 2048
  int hidden = 0;                // width of the residual stream, up to 2^20
  int vocab = 0;                 // rows of the embedding, up to 2^24
  int max_context = 0;           // positions the model was made for, up to 2^27
  float rms_eps = 0;             // added to the mean of squares, (0, 1)
  bool tied_embeddings = false;  // the output head is the embedding

  std::vector<LayerKind> layer_kinds;  // [layers]
  std::vector<bool> routed;            // [layers]; false: a dense feed-forward layer

  struct Attention {
    int heads = 0;  // query heads, a multiple of kv_heads, up to 4096
    int kv_heads = 0;
    int head_dim = 0;       // up to 512
    int rotary_dim = 0;     // the first dims of a head, rotated as two halves; even, <= head_dim
    bool gated = false;     // q_proj gives per head [query | gate], out *= sigmoid(gate)
    double rope_theta = 0;  // base of the rotary frequencies, [1, 1e15]
  } attention;

  // All 0 in a family without delta net.
  struct DeltaNet {
    int key_heads = 0;
    int value_heads = 0;  // a multiple of key_heads, up to 4096
    int key_dim = 0;      // of one head, up to 512
    int value_dim = 0;    // of one head, up to 512
    int conv_width = 0;   // taps of the causal convolution, 1 to 64
    bool tiled = false;   // value head h belongs to key head h % key_heads, as GGUF has it for 3.5
    int key_width() const { return key_heads * key_dim; }
    int value_width() const { return value_heads * value_dim; }
    int conv_channels() const { return 2 * key_width() + value_width(); }
  } delta;

  struct Moe {
    int experts = 0;              // per routed layer, up to 65536
    int experts_per_token = 0;    // 1 to experts
    int intermediate = 0;         // of one expert, up to 2^20
    int shared_intermediate = 0;  // of the shared expert; 0: there is none
    bool normalize = false;       // the chosen experts' weights are divided by their sum
  } moe;

  int dense_intermediate = 0;  // of a dense feed-forward layer; 0 in a family without any

  // The formula of the layer and head norms is (1 + w): Hugging Face files store w, MLX files
  // store 1 + w. False: w in both.
  bool norm_plus_one = false;

  // Layers that the checkpoint numbers on after these and that only predict further tokens.
  int prediction_layers = 0;

  std::vector<int> eos_ids;  // tokens that end a sequence; may be empty

  int attention_layers() const;
  int delta_layers() const;
  int routed_layers() const;
};

// `source` is the file's path, for messages. Throws Error kUnsupported for a model that this
// program cannot run and kCorrupt for values that make no sense, with key and value.
ModelConfig parse_model_config(const nlohmann::json& config, const std::string& source);

}  // namespace flashmoe::model
