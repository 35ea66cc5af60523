// SPDX-License-Identifier: Apache-2.0
#include "engine/load.h"

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/cgroup.h"
#include "engine/model_text.h"
#include "kernels/kernels.h"
#include "obs/log.h"

namespace sgl {
namespace {

constexpr const char* kKvCacheTypes = "auto, bfloat16, bf16, float16, float32, fp8_e5m2, fp8_e4m3, int8";
constexpr int64_t kGiB = int64_t{1} << 30;

Result<WeightPrecision> Precision(const std::string& dtype, const std::string& quantization) {
  if (quantization == "w8a8_int8") {
    if (dtype != "auto") return InvalidArgument(fmt::format("--quantization w8a8_int8 goes with --dtype auto alone, got '{}'", dtype));
    return WeightPrecision::kInt8;
  }
  if (!quantization.empty() && quantization != "gguf" && quantization != "unquant")
    return InvalidArgument(fmt::format("--quantization must be one of w8a8_int8, gguf, unquant, got '{}'", quantization));
  if (dtype == "auto") return WeightPrecision::kAuto;
  if (dtype == "float32" || dtype == "float") return WeightPrecision::kF32;
  if (dtype == "float16" || dtype == "half") return WeightPrecision::kF16;
  if (dtype == "bfloat16") return WeightPrecision::kBF16;
  return InvalidArgument(fmt::format("--dtype must be one of auto, half, float16, bfloat16, float, float32, got '{}'", dtype));
}

Result<KvType> CacheType(const std::string& name, WeightPrecision precision) {
  if (name == "auto")
    return precision == WeightPrecision::kF32 ? KvType::kF32 : precision == WeightPrecision::kF16 ? KvType::kF16 : KvType::kBF16;
  if (name == "bfloat16" || name == "bf16") return KvType::kBF16;
  if (name == "float16") return KvType::kF16;
  if (name == "float32") return KvType::kF32;
  if (name == "fp8_e5m2") return KvType::kF8E5M2;
  if (name == "fp8_e4m3") return KvType::kF8E4M3;
  if (name == "int8") return KvType::kI8;
  return InvalidArgument(fmt::format("--kv-cache-dtype must be one of {}, got '{}'", kKvCacheTypes, name));
}

// A bar on a terminal, a line per quarter elsewhere.
std::function<void(int64_t, int64_t)> ProgressBar() {
  const bool terminal = isatty(STDERR_FILENO) == 1;
  return [terminal, last = -1](int64_t done, int64_t total) mutable {
    const int percent = total > 0 ? static_cast<int>(done * 100 / total) : 100;
    if (terminal) {
      if (percent == last) return;
      const std::string bar(static_cast<size_t>(percent * 40 / 100), '#');
      fmt::print(stderr, "\rLoading weights [{:<40}] {:3d}% of {:.0f} MB{}", bar, percent, static_cast<double>(total) / 1e6,
                 done >= total ? "\n" : "");
    } else if (percent / 25 != last / 25) {
      LOG_INFO("Loading weights: {}% of {:.0f} MB", percent, static_cast<double>(total) / 1e6);
    }
    last = percent;
  };
}

// SGLANG_CPU_ISA must name a table that exists here: running another one silently would answer the user's question wrongly.
Status CheckForcedIsa() {
  const char* forced = std::getenv("SGLANG_CPU_ISA");
  if (forced == nullptr || *forced == '\0' || ForcedIsaIsValid(forced)) return {};
  std::vector<std::string_view> names;
  for (const Kernels& table : AllKernels()) names.push_back(table.isa);
  return InvalidArgument(fmt::format("SGLANG_CPU_ISA={}: this build on this processor has {}", forced, fmt::join(names, ", ")));
}

// config.json with --json-model-override-args laid over it, one level deep.
Result<Json> EffectiveConfig(const Json& config, const std::string& overrides) {
  auto parsed = ParseJson(overrides.empty() ? "{}" : overrides);
  if (!parsed.ok()) return std::move(parsed).error().In("--json-model-override-args");
  if (!parsed->is_object()) return InvalidArgument("--json-model-override-args must be a JSON object");
  Json effective = config;
  for (const Json::Member& member : parsed->as_object()) effective.Set(member.first, member.second);
  return effective;
}

void AddIds(const Json& value, std::vector<TokenId>& ids) {
  if (value.is_int()) ids.push_back(static_cast<TokenId>(value.as_int()));
  if (value.is_array())
    for (const Json& item : value.as_array()) AddIds(item, ids);
}

std::vector<TokenId> EosIds(const Json& config, const Json& generation, const Tokenizer& tokenizer) {
  std::vector<TokenId> ids;
  AddIds(config["eos_token_id"], ids);
  AddIds(generation["eos_token_id"], ids);
  if (tokenizer.eos) ids.push_back(*tokenizer.eos);
  ids.insert(ids.end(), tokenizer.extra_eos.begin(), tokenizer.extra_eos.end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

// KV tokens that fit, for each replica. --max-total-tokens wins; else what --mem-fraction-static leaves after the weights. Left to itself
// the server is a modest guest: enough for eight full contexts or 131072 tokens, if that much memory is there.
Result<int64_t> PoolTokens(const EngineConfig& config, const Model& model, int64_t context, int64_t bytes_per_token, size_t scratch) {
  const MemoryBudget memory = ReadMemoryBudget();
  const int64_t after_scratch = (memory.available - kGiB / 4) / config.dp_size - static_cast<int64_t>(scratch);
  const auto round_down = [&](int64_t tokens) { return tokens / config.page_size * config.page_size; };
  int64_t tokens = 0;
  if (config.max_total_tokens > 0) {
    tokens = round_down(config.max_total_tokens);
    if (tokens * bytes_per_token > after_scratch)
      return InvalidArgument(fmt::format("--max-total-tokens {} needs {:.2f} GB for the KV cache, but only {:.2f} GB of memory are left{}",
                                         config.max_total_tokens, static_cast<double>(tokens * bytes_per_token) / 1e9,
                                         static_cast<double>(after_scratch) / 1e9, config.dp_size > 1 ? " for each replica" : ""));
  } else {
    const int64_t reserved = (int64_t{512} + std::max(config.sched.chunked_prefill_size, 2048) * 3 / 2) << 20;
    const double fraction = config.mem_fraction_static > 0
                                ? config.mem_fraction_static
                                : std::max(0.1, 1.0 - static_cast<double>(reserved) / static_cast<double>(memory.total));
    const auto budget = static_cast<int64_t>(fraction * static_cast<double>(memory.total)) - model.weight_bytes();
    tokens = std::min(budget / config.dp_size, after_scratch) / bytes_per_token;
    if (config.mem_fraction_static <= 0) tokens = std::min(tokens, std::max<int64_t>(8 * context, 131072));
    tokens = round_down(tokens);
  }
  const int64_t least = std::max<int64_t>(2 * config.page_size, 16);
  if (tokens < least)
    return InvalidArgument(
        fmt::format("the KV cache would hold {} tokens, at least {} are needed: raise --max-total-tokens or "
                    "--mem-fraction-static ({:.2f} GB of memory available, {:.1f} KB per token)",
                    tokens, least, static_cast<double>(memory.available) / 1e9, static_cast<double>(bytes_per_token) / 1e3));
  return std::min<int64_t>(tokens, (int64_t{1} << 31) - config.page_size);
}

Result<int64_t> ContextLength(const EngineConfig& config, const Model& model) {
  const int64_t own = model.shape().context_length;
  if (config.context_length <= 0) return own;
  if (config.context_length > own && !config.allow_longer_context)
    return InvalidArgument(
        fmt::format("--context-length {} is larger than the model's {}; set SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN=1 if you "
                    "are sure",
                    config.context_length, own));
  return config.context_length;
}

Status CheckFormat(const EngineConfig& config, const ModelFiles& files) {
  if (config.load_format == "auto" || (config.load_format == "gguf") == files.is_gguf) return {};
  return InvalidArgument(fmt::format("--load-format {}: {} is {}", config.load_format, config.model_path,
                                     files.is_gguf ? "a GGUF file" : "a safetensors directory"));
}

// Memory of this process that lies in huge pages; -1 where the system does not say.
int64_t HugePageBytes() {
  std::ifstream file("/proc/self/smaps_rollup");
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string key;
    int64_t kib = 0;
    if (fields >> key >> kib && key == "AnonHugePages:") return kib * 1024;
  }
  return -1;
}

// The system may grant huge pages and then have none: memory is fragmented. Small models do not tell.
void ReportHugePages(int64_t huge, int64_t weights) {
  constexpr int64_t kTelling = int64_t{16} << 20;
  if (weights < kTelling || huge < 0 || !WhyNoHugePages().empty()) return;
  if (huge < weights / 2)
    LOG_WARNING("only {} of {} MB of weights lie in huge pages: memory is fragmented, reading them will be slow", huge / 1000000,
                weights / 1000000);
  else
    LOG_INFO("{} MB of weights lie in huge pages", weights / 1000000);
}

void MeasureWeights(const ModelFiles& files, EngineInfo& info) {
  int64_t bytes = 0, embedding_bytes = 0, quantised = 0;
  bool has_head = false;
  for (const TensorRef& tensor : files.weights->tensors()) {
    if (tensor.shape.size() != 2) continue;
    std::string name = files.is_gguf ? HuggingFaceName(tensor.name) : tensor.name;
    bytes += tensor.bytes;
    if (name.find("embed_tokens") != std::string::npos) {
      embedding_bytes += tensor.bytes;
    } else if (name.find("lm_head") != std::string::npos) {
      has_head = true;
    } else {
      const int64_t params = tensor.shape[0] * tensor.shape[1];
      info.layer_params += params;
      if (IsQuantised(tensor.dtype)) quantised += params;
    }
  }
  info.weights_quantised = 2 * quantised > info.layer_params;
  // What is packed as something else than the file has keeps the proportion. An embedding that is not the head too is read by rows.
  const double read = bytes > 0 ? static_cast<double>(bytes - (has_head ? embedding_bytes : 0)) / static_cast<double>(bytes) : 0;
  info.step_weight_bytes = static_cast<int64_t>(read * static_cast<double>(info.weight_bytes));
}

}  // namespace

MemoryBudget ReadMemoryBudget() {
  MemoryBudget budget;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);) {
    std::istringstream fields(line);
    std::string key;
    int64_t kib = 0;
    fields >> key >> kib;
    if (key == "MemTotal:") budget.total = kib * 1024;
    if (key == "MemAvailable:") budget.available = kib * 1024;
  }
  const auto read = [](const std::string& path) -> int64_t {
    std::ifstream file(path);
    int64_t value = -1;
    return file >> value ? value : -1;  // "max" does not parse: no limit
  };
  // Versions 2 and 1 of cgroups name the files differently. Version 1 has a huge number where there is no limit.
  for (const std::string& directory : CgroupDirectories("memory"))
    for (const auto& [limit_name, used_name] :
         {std::pair{"/memory.max", "/memory.current"}, {"/memory.limit_in_bytes", "/memory.usage_in_bytes"}}) {
      const int64_t limit = read(directory + limit_name), used = read(directory + used_name);
      if (limit <= 0 || used < 0 || limit >= budget.total) continue;
      budget.total = limit;
      budget.available = std::min(budget.available, limit - used);
    }
  return budget;
}

Result<std::unique_ptr<Model>> LoadWeights(const EngineConfig& config, ThreadPool& pool) {
  TRY(const WeightPrecision precision, Precision(config.dtype, config.quantization));
  TRY(const ModelFiles files, OpenModel(config.model_path));
  TRY_STATUS(CheckFormat(config, files));
  TRY(const Json model_config, EffectiveConfig(files.config, config.json_model_override_args));
  return MakeModel(model_config, files, pool, {.precision = precision, .progress = {}, .packed_cache_dir = config.packed_cache_dir});
}

namespace {

Status CheckConfig(const EngineConfig& config) {
  TRY_STATUS(CheckForcedIsa());
  if (config.page_size != 1 && (config.page_size < kKvBlock || config.page_size % kKvBlock != 0 || config.page_size > 1024))
    return InvalidArgument(fmt::format("--page-size must be 1 or a multiple of {} up to 1024, got {}", kKvBlock, config.page_size));
  if (config.sched.enable_priority_scheduling && !PolicyKnowsPriority(config.sched.schedule_policy))
    return InvalidArgument(
        fmt::format("--enable-priority-scheduling needs --schedule-policy fcfs or lof, not {}", config.sched.schedule_policy));
  return {};
}

Result<std::vector<CpuPlan>> PlanThreads(const EngineConfig& config) {
  Result<std::vector<CpuPlan>> plans = PlanReplicas(ReadCpuFacts(), config.threads, config.cpus, config.dp_size);
  if (!plans.ok()) return std::move(plans).error().In("SGLANG_CPU_OMP_THREADS_BIND");
  for (const CpuPlan& plan : *plans) LOG_INFO("computing with {}, kernels for {}", plan.why, kernels().isa);
  return plans;
}

// Every core that will compute helps to load.
ThreadPool LoadingPool(const std::vector<CpuPlan>& plans) {
  if (plans.size() == 1) return ThreadPool(plans.front());
  int threads = 0;
  for (const CpuPlan& plan : plans) threads += plan.threads;
  return ThreadPool(threads);
}

// What is one replica's own.
Status AddReplica(const EngineConfig& config, const CpuPlan& plan, KvType kv_type, int64_t tokens, LoadedModel& replica) {
  const ModelShape& shape = replica.model->shape();
  replica.pool = std::make_unique<ThreadPool>(plan);
  TRY(KvStore store, KvStore::Allocate(shape.layers, shape.groups, shape.head_width, kv_type, tokens));
  replica.info.kv_bytes = store.bytes();
  replica.info.threads = plan.threads;
  TRY(replica.runner, Runner::Create(*replica.model, std::move(store), config.page_size, *replica.pool));
  replica.cache = std::make_unique<KvCache>(static_cast<int32_t>(tokens / config.page_size), config.page_size, !config.disable_radix_cache);
  return {};
}

}  // namespace

Result<std::vector<LoadedModel>> LoadReplicas(const EngineConfig& config) {
  TRY_STATUS(CheckConfig(config));
  TRY(const WeightPrecision precision, Precision(config.dtype, config.quantization));
  TRY(const KvType kv_type, CacheType(config.kv_cache_dtype, precision));
  TRY(const std::vector<CpuPlan> plans, PlanThreads(config));

  std::shared_ptr<const Model> model;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::string chat_template;
  EngineInfo info;
  TRY(const ModelFiles files, OpenModel(config.model_path));
  TRY_STATUS(CheckFormat(config, files));
  TRY(const Json model_config, EffectiveConfig(files.config, config.json_model_override_args));
  if (config.tokenizer_path.empty() || config.tokenizer_path == config.model_path) {
    TRY(tokenizer, LoadModelTokenizer(files));
    chat_template = files.chat_template;
  } else {
    TRY(const ModelFiles text_files, OpenModelText(config.tokenizer_path));
    TRY(tokenizer, LoadModelTokenizer(text_files));
    chat_template = text_files.chat_template;
  }
  const auto load_begin = std::chrono::steady_clock::now();
  if (const std::string why = WhyNoHugePages(); !why.empty())
    LOG_WARNING("no huge pages for weights, KV cache and scratch memory: {}; everything works, at a half of the speed or less", why);
  const int64_t huge_before = HugePageBytes();
  {
    ThreadPool pool = LoadingPool(plans);
    TRY(model, MakeModel(model_config, files, pool,
                         {.precision = precision, .progress = ProgressBar(), .packed_cache_dir = config.packed_cache_dir}));
  }
  info.load_weights_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - load_begin).count();
  ReportHugePages(HugePageBytes() - huge_before, model->weight_bytes());
  const ModelShape& shape = model->shape();
  if (tokenizer->vocab_size() > shape.vocab_size)
    return InvalidArgument(fmt::format("{}: the tokenizer has ids up to {}, but the model's vocabulary has only {} rows",
                                       files.path.string(), tokenizer->vocab_size() - 1, shape.vocab_size));

  TRY(const int64_t context, ContextLength(config, *model));
  const int64_t bytes_per_token = KvStore::BytesPerToken(shape.layers, shape.groups, shape.head_width, kv_type);
  TRY(const int64_t tokens, PoolTokens(config, *model, context, bytes_per_token, Runner::ScratchBytes(*model, plans.front().threads)));

  SchedConfig sched = config.sched;
  sched.random_seed = static_cast<uint64_t>(config.random_seed.value_or(0));
  sched.context_length = static_cast<int>(context);
  const int64_t running = std::max(1, config.sched.max_running_requests / config.dp_size);
  sched.max_running_requests = static_cast<int>(std::clamp<int64_t>(running, 1, std::max<int64_t>(1, tokens / 2)));

  info.model_path = config.model_path;
  info.tokenizer_path = config.tokenizer_path.empty() ? config.model_path : config.tokenizer_path;
  info.served_model_name = config.served_model_name.empty() ? config.model_path : config.served_model_name;
  info.weight_version = config.weight_version;
  info.model_type = shape.model_type;
  info.architectures = {shape.architecture};
  info.context_length = context;
  info.vocab_size = shape.vocab_size;
  info.width = shape.width;
  info.radix_cache = !config.disable_radix_cache;
  info.max_total_tokens = tokens;
  info.max_req_input_len = std::min(context - 1, tokens - 1) - 5;
  info.max_running_requests = sched.max_running_requests;
  info.page_size = config.page_size;
  info.eos_ids = EosIds(model_config, files.generation_config, *tokenizer);
  info.weight_bytes = model->weight_bytes();
  info.generation_config = files.generation_config;
  info.kv_bytes_per_token = bytes_per_token;
  MeasureWeights(files, info);
  info.isa = kernels().isa;

  std::vector<LoadedModel> replicas;
  for (const CpuPlan& plan : plans) {
    LoadedModel& replica = replicas.emplace_back();
    replica.model = model;
    replica.tokenizer = tokenizer;
    replica.chat_template = chat_template;
    replica.sched = sched;
    replica.info = info;
    TRY_STATUS(AddReplica(config, plan, kv_type, tokens, replica));
  }
  return replicas;
}

}  // namespace sgl
