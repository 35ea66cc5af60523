// A language model: tokens in, hidden states and logits out.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "layers/context.h"
#include "layers/loader.h"
#include "weights/weights.h"

namespace sgl {

// What the engine has to know to serve a model.
struct ModelShape {
  std::string architecture;    // "LlamaForCausalLM"
  std::string model_type;      // "llama"
  int64_t vocab_size = 0;      // V
  int64_t width = 0;           // D
  int layers = 0;              // L
  int groups = 0;              // G key/value heads
  int head_width = 0;          // C
  int64_t context_length = 0;  // positions the model was made for
};

// Weights, and what to do with them. Reading only: the engines of several replicas share one, each on its own thread. Lives as long as the
// last of them uses it.
class Model {
 public:
  virtual ~Model() = default;
  const ModelShape& shape() const { return shape_; }
  virtual int64_t weight_bytes() const = 0;
  // Every matrix becomes zeros. Before anybody else has the model.
  virtual void Zero() = 0;
  // Arena bytes for passes of at most max_rows tokens.
  virtual size_t ScratchBytes(int64_t max_rows, int threads) const = 0;

  // hidden [R, D] = the final hidden states (after the last norm) of rows step.hidden_rows. kv: one KvLayer per layer; writes the step's
  // keys and values into it.
  virtual void Forward(RunContext& ctx, const Step& step, std::span<const KvLayer> kv, Mat<float> hidden) const = 0;
  // logits [R, V] of hidden states [R, D].
  virtual void Logits(RunContext& ctx, Mat<const float> hidden, Mat<float> logits) const = 0;

 protected:
  ModelShape shape_;
};

// config: the model's config.json with overrides applied. Errors: unknown architecture (lists the known ones), unsupported config values
// (names the key), tensors missing, extra or of the wrong shape.
Result<std::unique_ptr<Model>> MakeModel(const Json& config, const ModelFiles& files, ThreadPool& pool, const LoadOptions& options);

std::vector<std::string_view> KnownArchitectures();

}  // namespace sgl
