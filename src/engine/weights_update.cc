// SPDX-License-Identifier: Apache-2.0
#include "engine/weights_update.h"

#include <fmt/core.h>
#include <pthread.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "engine/load.h"
#include "obs/log.h"
#include "tensor/blocks.h"
#include "weights/file_fault.h"

namespace sgl {
namespace {

Status CheckSameShape(const ModelShape& now, const ModelShape& wanted) {
  const auto differs = [](std::string_view what, auto is, auto should) {
    return InvalidArgument(fmt::format("the new model has {} {}, the running one has {}", what, is, should));
  };
  if (now.architecture != wanted.architecture) return differs("architecture", now.architecture, wanted.architecture);
  if (now.vocab_size != wanted.vocab_size) return differs("a vocabulary of", now.vocab_size, wanted.vocab_size);
  if (now.width != wanted.width) return differs("a hidden size of", now.width, wanted.width);
  if (now.layers != wanted.layers) return differs("layers:", now.layers, wanted.layers);
  if (now.groups != wanted.groups) return differs("key/value heads:", now.groups, wanted.groups);
  if (now.head_width != wanted.head_width) return differs("a head size of", now.head_width, wanted.head_width);
  return {};
}

WeightsUpdate::Loaded Load(const EngineConfig& config, const ModelShape& shape, size_t scratch_bytes, int threads, bool zero) {
  ThreadPool pool(1);  // the compute threads belong to the engines
  FileFaultGuard guard;
  Result<std::unique_ptr<Model>> model = LoadWeights(config, pool);
  if (guard.happened()) return InvalidArgument(fmt::format("{}: a file became shorter while it was read", config.model_path));
  if (!model.ok()) return model.error();
  if (Status same = CheckSameShape((*model)->shape(), shape); !same.ok()) return std::move(same).error().In(config.model_path);
  if (Runner::ScratchBytes(**model, threads) > scratch_bytes)
    return InvalidArgument(fmt::format("{}: the new model needs more working memory than the running one", config.model_path));
  if (zero) (*model)->Zero();
  return std::shared_ptr<const Model>(*std::move(model));
}

// A tensor of a model under its Hugging Face name.
struct Found {
  ModelFiles files;
  const TensorRef* tensor = nullptr;
  int heads = 0;  // > 0: its rows are heads, stored in GGUF's order
};

std::string NameOf(const ModelFiles& files, const TensorRef& tensor) {
  const std::string name = files.is_gguf ? HuggingFaceName(tensor.name) : tensor.name;
  return name.empty() ? tensor.name : name;
}

Result<Found> FindTensor(const std::string& model_path, std::string name) {
  Found found;
  TRY(found.files, OpenModel(model_path));
  const auto find = [&](const std::string& wanted) {
    for (const TensorRef& tensor : found.files.weights->tensors())
      if (NameOf(found.files, tensor) == wanted) found.tensor = &tensor;
  };
  find(name);
  if (found.tensor == nullptr && name == "lm_head.weight") find("model.embed_tokens.weight");  // tied
  if (found.tensor == nullptr) return Error{Code::kNotFound, fmt::format("name: the model has no tensor '{}'", name)};
  if (found.files.gguf_permuted_qk) {
    const auto heads = [&](const char* key) {
      return found.files.config[key].is_int() ? static_cast<int>(found.files.config[key].as_int()) : 0;
    };
    if (name.find("self_attn.q_proj.") != std::string::npos) found.heads = heads("num_attention_heads");
    if (name.find("self_attn.k_proj.") != std::string::npos) found.heads = heads("num_key_value_heads");
  }
  return found;
}

}  // namespace

WeightsUpdate::~WeightsUpdate() {
  if (thread_.joinable()) thread_.join();
}

void WeightsUpdate::Join(int rank, std::function<Loaded()> load, std::function<void()> wake) {
  std::lock_guard lock(mutex_);
  const auto& mine = wakes_.emplace(rank, std::move(wake)).first->second;
  if (loaded_) mine();
  if (thread_.joinable()) return;
  thread_ = std::thread([this, load = std::move(load)] {
    pthread_setname_np(pthread_self(), "weights");
    LowerThreadPriority();
    Loaded loaded = load();
    std::lock_guard inner(mutex_);
    loaded_.emplace(std::move(loaded));
    WakeAll();
  });
}

void WeightsUpdate::WakeAll() {
  for (const auto& [rank, wake] : wakes_) wake();
}

const WeightsUpdate::Loaded* WeightsUpdate::loaded() const {
  std::lock_guard lock(mutex_);
  return loaded_ ? &*loaded_ : nullptr;
}

void WeightsUpdate::Vote(const Status& status) {
  std::lock_guard lock(mutex_);
  if (worst_.ok()) worst_ = status;
  if (--missing_ <= 0 || !status.ok()) WakeAll();
}

std::optional<Status> WeightsUpdate::verdict() const {
  std::lock_guard lock(mutex_);
  if (missing_ > 0 && worst_.ok()) return {};
  return worst_;
}

void WeightsUpdate::Leave(int rank, const Error& why) {
  std::lock_guard lock(mutex_);
  wakes_.erase(rank);
  if (missing_ <= 0) return;
  if (worst_.ok()) worst_ = why;
  WakeAll();
}

WeightsUpdate::Loaded LoadNewWeights(const UpdateWeights& asked, EngineConfig config, const ModelShape& shape, size_t scratch_bytes,
                                     int threads) {
  config.model_path = asked.model_path;
  config.load_format = asked.load_format;
  try {
    return Load(config, shape, scratch_bytes, threads, asked.zero);
  } catch (const std::exception& e) {  // memory for two models may not be there
    return Internal(fmt::format("loading {} failed: {}", config.model_path, e.what()));
  }
}

Result<Json> WeightByName(const std::string& model_path, const std::string& name, int64_t truncate_size) {
  FileFaultGuard guard;
  TRY(const Found found, FindTensor(model_path, name));
  const TensorRef& tensor = *found.tensor;
  const bool is_matrix = tensor.shape.size() == 2;
  if (tensor.shape.empty() || tensor.shape.size() > 2)
    return InvalidArgument(fmt::format("name: '{}' has {} dimensions; vectors and matrices can be shown", name, tensor.shape.size()));
  const int64_t rows = tensor.shape[0], width = is_matrix ? tensor.shape[1] : 1;
  const int64_t count = std::clamp<int64_t>(truncate_size, 0, rows);
  Json::Array out;
  const auto file_row = [&](int64_t row) { return found.heads > 0 ? UnpermutedRow(row, found.heads, rows / found.heads) : row; };
  if (!is_matrix) {
    std::vector<float> all(static_cast<size_t>(rows));
    DequantiseRow(tensor.dtype, tensor.data, rows, all.data());
    for (int64_t r = 0; r < count; ++r) out.emplace_back(static_cast<double>(all[static_cast<size_t>(file_row(r))]));
  } else {
    std::vector<float> row(static_cast<size_t>(width));
    for (int64_t r = 0; r < count; ++r) {
      DequantiseRow(tensor.dtype, tensor.data + file_row(r) * RowBytes(tensor.dtype, width), width, row.data());
      Json::Array values;
      for (const float v : row) values.emplace_back(static_cast<double>(v));
      out.emplace_back(std::move(values));
    }
  }
  if (guard.happened()) return InvalidArgument(fmt::format("{}: the file became shorter", tensor.file));
  return Json(std::move(out));
}

Result<std::vector<std::pair<std::string, uint64_t>>> WeightChecksums(const std::string& model_path) {
  FileFaultGuard guard;
  TRY(const ModelFiles files, OpenModel(model_path));
  std::vector<std::pair<std::string, uint64_t>> sums;
  for (const TensorRef& tensor : files.weights->tensors()) {
    uint64_t sum = 0xCBF29CE484222325u;
    const auto add = [&](uint64_t word) {
      sum = (sum ^ word) * 0x9E3779B97F4A7C15u;
      sum ^= sum >> 29;
    };
    add(static_cast<uint64_t>(tensor.dtype));
    for (const int64_t extent : tensor.shape) add(static_cast<uint64_t>(extent));
    for (int64_t i = 0; i < tensor.bytes; i += 8) {
      uint64_t word = 0;
      std::memcpy(&word, tensor.data + i, static_cast<size_t>(std::min<int64_t>(8, tensor.bytes - i)));
      add(word);
    }
    sums.emplace_back(NameOf(files, tensor), sum);
  }
  if (guard.happened()) return InvalidArgument(fmt::format("{}: a file became shorter while it was read", model_path));
  std::sort(sums.begin(), sums.end());
  return sums;
}

}  // namespace sgl
