// The engine: takes requests, runs the model step by step, hands back tokens and text.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/result.h"
#include "engine/control.h"
#include "engine/probe.h"
#include "engine/sampler.h"
#include "obs/profiler.h"
#include "sched/request.h"
#include "sched/scheduler.h"
#include "tensor/dtype.h"
#include "text/tokenizer.h"

namespace sgl {

// Log-probabilities of one position.
struct PositionLogprob {
  TokenId token = 0;
  std::optional<float> logprob;       // nothing for the first prompt position
  std::vector<TopLogprob> top;        // top_logprobs_num entries, descending
  std::vector<TopLogprob> token_ids;  // for token_ids_logprob, in that order
};

// A few tokens. A single one, which is what most steps bring, costs no allocation.
class TokenList {
 public:
  TokenList() = default;
  TokenList(std::initializer_list<TokenId> tokens) : TokenList(std::vector<TokenId>(tokens)) {}
  TokenList(const std::vector<TokenId>& tokens) {
    for (const TokenId token : tokens) push_back(token);
  }
  void push_back(TokenId token) {
    if (empty()) {
      first_ = token;
      has_first_ = true;
      return;
    }
    if (all_.empty()) all_.push_back(first_);
    all_.push_back(token);
  }
  size_t size() const { return all_.empty() ? size_t{has_first_} : all_.size(); }
  bool empty() const { return size() == 0; }
  const TokenId* begin() const { return all_.empty() ? &first_ : all_.data(); }
  const TokenId* end() const { return begin() + size(); }

 private:
  TokenId first_ = 0;
  bool has_first_ = false;
  std::vector<TokenId> all_;  // empty unless there are two at least
};

// Everything that one step says about one request. Plain value; moves from the engine thread to the sink.
struct TokenDelta {
  RequestId id{};
  TokenList tokens;                               // new output tokens: one, or none when a queued request ends
  std::string text;                               // new text, already free of stop strings and of half characters
  std::vector<PositionLogprob> output_logprobs;   // one per token, if asked for
  std::vector<PositionLogprob> input_logprobs;    // with the first delta, if asked for
  std::vector<std::vector<float>> hidden_states;  // if asked for: with the first delta the prompt's, then one per token
  std::optional<int64_t> computed_prompt_tokens;  // if set, only this is told: how far the prompt has come
  std::optional<Finish> finish;                   // the last delta has it
  int64_t prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0;  // running totals
  int64_t num_retractions = 0;
  double e2e_latency_s = 0, queue_time_s = 0;  // with finish
};

// Called on the engine thread, in order; must not block. After the delta with `finish` it is destroyed.
using Sink = std::function<void(TokenDelta)>;

struct EngineConfig {
  std::string model_path;
  std::string tokenizer_path;           // "" : model_path
  std::string served_model_name;        // "" : model_path
  std::string dtype = "auto";           // auto, float32, float16/half, bfloat16
  std::string quantization;             // "", or w8a8_int8: layers as bytes; then dtype is auto
  std::string kv_cache_dtype = "auto";  // auto, bfloat16/bf16, float16, float32, fp8_e5m2, fp8_e4m3, int8
  std::string load_format = "auto";     // auto, safetensors, gguf
  std::string json_model_override_args = "{}";
  std::string packed_cache_dir;       // "": packed weights are not kept on disk
  int64_t context_length = 0;         // 0: the model's
  bool allow_longer_context = false;  // SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN
  int64_t max_total_tokens = 0;       // 0: from mem_fraction_static
  double mem_fraction_static = 0;     // 0: automatic
  int page_size = 16;
  bool disable_radix_cache = false;
  bool check_when_idle = true;  // SGLANG_ENABLE_STRICT_MEM_CHECK_DURING_IDLE
#ifdef NDEBUG
  bool check_when_busy = false;  // SGLANG_ENABLE_STRICT_MEM_CHECK_DURING_BUSY
#else
  bool check_when_busy = true;
#endif
  bool log_forward_iters = false;  // SGLANG_LOG_FORWARD_ITERS
  std::optional<int64_t> random_seed;
  int dp_size = 1;                     // replicas: engines that share the weights; max_running_requests is dealt out to them
  int threads = 0;                     // of each replica; 0: as PlanReplicas chooses
  std::vector<std::vector<int>> cpus;  // to compute on, for each replica; empty: as PlanReplicas chooses
  int max_queued_inbox = 65536;
  int decode_log_interval = 40;
  bool return_original_logprob = false;  // output log-probabilities as at temperature 1 (SGLANG_RETURN_ORIGINAL_LOGPROB)
  std::string weight_version = "default";
  std::string grammar_backend = "xgrammar";  // SGLang's names; all but none mean the engine's own
  // Between JSON tokens; "": any white space. The default takes what serialisers write; without a bound small models write it for ever.
  std::string constrained_json_whitespace_pattern = R"([ \t]{0,4}(\r?\n[ \t]{0,64})?)";
  bool constrained_json_disable_any_whitespace = false;
  SchedConfig sched;  // context_length and unset sizes are filled in by the engine
};

// What does not change after start, apart from model_path, served_model_name and weight_version, which a weight update replaces.
struct EngineInfo {
  std::string model_path, tokenizer_path, served_model_name, weight_version;
  std::string model_type;
  std::vector<std::string> architectures;
  int64_t context_length = 0, vocab_size = 0, width = 0;
  bool radix_cache = true;
  int64_t max_total_tokens = 0, max_req_input_len = 0;
  int max_running_requests = 0;
  int page_size = 0;
  std::vector<TokenId> eos_ids;
  int64_t weight_bytes = 0, kv_bytes = 0;
  // For measuring against the machine: weights in the layers' matrices, bytes of weights that one decoding step reads, whether the layers'
  // weights are of block formats, cached bytes per token.
  int64_t layer_params = 0, step_weight_bytes = 0, kv_bytes_per_token = 0;
  bool weights_quantised = false;
  Json generation_config;  // null if none
  std::string isa;
  int threads = 0;
  bool weights_are_zero = false;             // since an UpdateWeights with zero
  int weight_updates = 0;                    // how often weights or their version were replaced since start
  double load_weights_s = 0, startup_s = 0;  // the model alone; everything until the engine could run
};

// A request of which a part of the prompt has been computed.
struct PrefillProgress {
  std::string rid;
  int64_t computed_tokens = 0, prompt_tokens = 0;
};

struct EngineStats {
  SchedStats sched;
  double last_gen_throughput = 0;  // tokens/s in the last decode window
  int64_t tokens_produced = 0;     // since start
  int64_t steps = 0;
  std::vector<PrefillProgress> prefilling;  // long prompts under way
  bool paused = false;
  int64_t held = 0;       // requests held back by a pause or a weight update; sched.waiting and its tokens count them, too
  int64_t compiling = 0;  // requests whose grammar is being compiled
};

// What a watchdog looks at: a busy engine whose count of rounds stays the same for long hangs.
struct EngineBeat {
  uint64_t rounds = 0;  // of the loop: messages, a step if there is one to make
  uint64_t steps_begun = 0;
  bool busy = false;  // not asleep
};

// What has been submitted and has not ended, counted at once.
struct EngineLoad {
  int64_t requests = 0;
  int64_t tokens = 0;  // prompts as submitted, and output so far
};

// Owns the engine thread, the scheduler, the caches and the model.
class Engine {
 public:
  // Loads the model and starts the engine thread. Errors name file, tensor, option.
  static Result<std::unique_ptr<Engine>> Create(EngineConfig config);
  // config.dp_size engines on the same weights. Their requests have different ids, see RankOf, and their rids are unique among all of them.
  // They are destroyed in any order.
  static Result<std::vector<std::unique_ptr<Engine>>> CreateReplicas(EngineConfig config);
  // Which of `replicas` engines gave this id.
  static int RankOf(RequestId id, int replicas) { return static_cast<int>((Index(id) - 1) % static_cast<uint64_t>(replicas)); }
  ~Engine();  // aborts what is left ("Server is shutting down", 503), joins

  // Thread: any. Errors: kInvalidArgument (empty prompt, id outside the vocabulary, too long, duplicate rid), kExhausted (inbox full),
  // kUnavailable (shutting down). Once it returns an id, exactly one delta with `finish` will come.
  Result<RequestId> Submit(GenerateRequest request, Sink sink);
  // Thread: any. Idempotent; unknown ids are ignored. The request still gets its Finish ("Aborted", or "Abort in waiting queue").
  void Abort(RequestId id);
  void AbortRid(const std::string& rid);  // exact match, and "<rid>_<index>" of its batch
  void AbortAll();

  // Empties the prefix cache when fully idle; waits up to `timeout` for that. `done` is called once, on the engine thread.
  void FlushCache(std::chrono::milliseconds timeout, std::function<void(bool)> done);

  // Thread: any. See each request's type. `done` is called once, on the engine thread, at the latest when the engine ends.
  void Control(ControlRequest request, ControlDone done);

  // No new requests from now on (kUnavailable); true when everything in flight, of all replicas, has ended before the deadline.
  bool Drain(std::chrono::milliseconds timeout);

  const EngineInfo& info() const;  // Thread: any; stays valid as long as the engine, but a weight update brings a new one
  EngineBeat beat() const;         // Thread: any
  EngineStats stats() const;       // Thread: any; a snapshot
  EngineLoad load() const;         // Thread: any
  // For a watchdog that has seen it hang: ends the process through a crash report with the engine thread's stack. Thread: any.
  void Crash();
  const EngineProbe& probe() const;  // lives as long as the engine
  Profiler& profiler();              // likewise; one for all replicas
  std::shared_ptr<const Tokenizer> tokenizer() const;
  const std::string& chat_template() const;  // "" if the model has none

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sgl
