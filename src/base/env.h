// The environment variables this build honours: one typed line each.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sgl {

enum class EnvType { kStr, kBool, kInt, kFloat, kTuple };

struct EnvInfo {
  const char* name;
  EnvType type;
  const char* fallback;  // the default, as one would write it
  const char* help;      // one line
};

// The raw value; nothing if unset.
std::optional<std::string> RawEnv(const char* name);

// Text to value and back. true/1/yes/y and false/0/no/n in any case; tuples are separated by commas and trimmed.
template <class T>
std::optional<T> ParseEnv(std::string_view text);
template <>
std::optional<std::string> ParseEnv<std::string>(std::string_view text);
template <>
std::optional<bool> ParseEnv<bool>(std::string_view text);
template <>
std::optional<int64_t> ParseEnv<int64_t>(std::string_view text);
template <>
std::optional<double> ParseEnv<double>(std::string_view text);
template <>
std::optional<std::vector<std::string>> ParseEnv<std::vector<std::string>>(std::string_view text);
std::string FormatEnv(const std::string& value);
std::string FormatEnv(bool value);
std::string FormatEnv(int64_t value);
std::string FormatEnv(double value);
std::string FormatEnv(const std::vector<std::string>& value);
void SetRawEnv(const char* name, const std::optional<std::string>& value);  // nothing: unset

// One variable. Thread: Get from any thread as long as nobody sets; Set, Clear and Override at start and in tests only, because
// setenv(3) races with every getenv(3).
template <class T>
class EnvVar {
 public:
  constexpr explicit EnvVar(EnvInfo info) : info_(info) {}
  const EnvInfo& info() const { return info_; }

  // The default when unset, or when the value is malformed (PrepareEnvironment has then warned).
  T Get() const {
    if (const auto raw = RawEnv(info_.name))
      if (auto value = ParseEnv<T>(*raw)) return *std::move(value);
    return *ParseEnv<T>(info_.fallback);
  }
  bool is_set() const { return RawEnv(info_.name).has_value(); }  // presence only
  void Set(const T& value) const { SetRawEnv(info_.name, FormatEnv(value)); }
  void Clear() const { SetRawEnv(info_.name, std::nullopt); }

  // Sets the variable until the scope ends, however it ends; then the previous value, or absence, is back.
  class [[nodiscard]] Override {
   public:
    Override(const EnvVar& variable, const T& value) : name_(variable.info_.name), before_(RawEnv(name_)) { variable.Set(value); }
    ~Override() { SetRawEnv(name_, before_); }
    Override(const Override&) = delete;
    Override& operator=(const Override&) = delete;

   private:
    const char* name_;
    std::optional<std::string> before_;
  };

 private:
  EnvInfo info_;
};

using EnvStr = EnvVar<std::string>;
using EnvBool = EnvVar<bool>;
using EnvInt = EnvVar<int64_t>;
using EnvFloat = EnvVar<double>;
using EnvTuple = EnvVar<std::vector<std::string>>;

// X(type, variable, name, default, help). The only list: variables, table, checks and docs come from it.
#define SGL_ENVIRONMENT(X)                                                                                                                 \
  X(Str, CpuIsa, "SGLANG_CPU_ISA", "", "kernels to use: portable, avx2, avx512, amx; empty: the best this CPU can run")                    \
  X(Str, CpuOmpThreadsBind, "SGLANG_CPU_OMP_THREADS_BIND", "all", "CPUs to compute on, such as 0-15,32; all: one per core we may use")     \
  X(Float, ReqWaitingTimeout, "SGLANG_REQ_WAITING_TIMEOUT", "-1", "seconds a request may wait before it starts; <= 0: no limit")           \
  X(Float, ReqRunningTimeout, "SGLANG_REQ_RUNNING_TIMEOUT", "-1", "seconds a request may run; <= 0: no limit")                             \
  X(Float, InitNewTokenRatio, "SGLANG_INIT_NEW_TOKEN_RATIO", "0.7", "share of max_new_tokens that admission reserves at first")            \
  X(Float, MinNewTokenRatioFactor, "SGLANG_MIN_NEW_TOKEN_RATIO_FACTOR", "0.14", "the reserved share never falls below this part of it")    \
  X(Int, NewTokenRatioDecaySteps, "SGLANG_NEW_TOKEN_RATIO_DECAY_STEPS", "600", "decode steps from the first to the lowest share")          \
  X(Int, RetractDecodeSteps, "SGLANG_RETRACT_DECODE_STEPS", "20", "after a retraction, room is kept for so many steps of those who stay")  \
  X(Int, ClipMaxNewTokens, "SGLANG_CLIP_MAX_NEW_TOKENS_ESTIMATION", "4096", "max_new_tokens counts as at most this much in admission")     \
  X(Bool, TestRetract, "SGLANG_TEST_RETRACT", "false", "testing: send a running request back to the queue now and then")                   \
  X(Int, TestRetractInterval, "SGLANG_TEST_RETRACT_INTERVAL", "3", "decode steps between such retractions")                                \
  X(Int, TestRetractNoPrefillBs, "SGLANG_TEST_RETRACT_NO_PREFILL_BS", "2147483648", "with it: no prefill while more are running")          \
  X(Bool, StrictMemCheckDuringIdle, "SGLANG_ENABLE_STRICT_MEM_CHECK_DURING_IDLE", "true", "when idle, check that no page is lost")         \
  X(Bool, StrictMemCheckDuringBusy, "SGLANG_ENABLE_STRICT_MEM_CHECK_DURING_BUSY", "false", "the same after every step; slow")              \
  X(Bool, AllowLongerContext, "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN", "false", "let --context-length exceed the model's")             \
  X(Float, HealthCheckTimeout, "SGLANG_HEALTH_CHECK_TIMEOUT", "20", "seconds a health probe waits for a token")                            \
  X(Bool, HealthGenerates, "SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION", "true", "/health generates a token; false: it only answers")        \
  X(Bool, ForwardUnknownTools, "SGLANG_FORWARD_UNKNOWN_TOOLS", "false", "calls of functions that are not listed are calls, too")           \
  X(Int, ToolStrictLevel, "SGLANG_TOOL_STRICT_LEVEL", "0", "what tool_choice auto enforces: 1: names, 2: also parameters")                 \
  X(Int, MaxThinkTokens, "SGLANG_MAX_THINK_TOKENS", "-1", "reasoning tokens of a reply whose request gives no thinking_budget; < 0: any")  \
  X(Bool, DefaultThinking, "SGLANG_DEFAULT_THINKING", "false", "DeepSeek-V3.2 thinks unless a request says otherwise")                     \
  X(Float, WarmupTimeout, "SGLANG_WARMUP_TIMEOUT", "-1", "seconds the warm-up request may take; <= 0: 600")                                \
  X(Float, TimeoutKeepAlive, "SGLANG_TIMEOUT_KEEP_ALIVE", "5", "seconds an idle HTTP connection stays open")                               \
  X(Bool, ForceShutdown, "SGL_FORCE_SHUTDOWN", "false", "SIGTERM and SIGINT exit at once, without draining")                               \
  X(Bool, ReturnOriginalLogprob, "SGLANG_RETURN_ORIGINAL_LOGPROB", "false", "output log-probabilities do not depend on the temperature")   \
  X(Bool, LogForwardIters, "SGLANG_LOG_FORWARD_ITERS", "false", "batch lines of the log have the number of the step")                      \
  X(Bool, LogMs, "SGLANG_LOG_MS", "false", "log lines have milliseconds")                                                                  \
  X(Tuple, LogRequestHeaders, "SGLANG_LOG_REQUEST_HEADERS", "", "more request headers for --log-requests to show")                         \
  X(Int, LogRequestExceededMs, "SGLANG_LOG_REQUEST_EXCEEDED_MS", "-1", "> 0: --log-requests shows replies that took as many milliseconds") \
  X(Int, TraceLevel, "SGLANG_TRACE_LEVEL", "3", "detail of traces; 0: none")                                                               \
  X(Int, OtlpDelayMillis, "SGLANG_OTLP_EXPORTER_SCHEDULE_DELAY_MILLIS", "500", "longest wait of a span before it is sent")                 \
  X(Int, OtlpBatch, "SGLANG_OTLP_EXPORTER_MAX_EXPORT_BATCH_SIZE", "64", "spans per export")                                                \
  X(Str, ProfilerDir, "SGLANG_TORCH_PROFILER_DIR", "/tmp", "where profiles go unless the request says")                                    \
  X(Str, CacheDir, "SGLANG_CACHE_DIR", "~/.cache/sglang", "where ./run keeps the downloaded default model")                                \
  X(Str, OllamaRootRoute, "SGLANG_OLLAMA_ROOT_ROUTE", "", "where the server says that it is an Ollama, in place of what it says at /")     \
  X(Str, OllamaChatRoute, "SGLANG_OLLAMA_CHAT_ROUTE", "/api/chat", "path of /api/chat")                                                    \
  X(Str, OllamaGenerateRoute, "SGLANG_OLLAMA_GENERATE_ROUTE", "/api/generate", "path of /api/generate")                                    \
  X(Str, OllamaTagsRoute, "SGLANG_OLLAMA_TAGS_ROUTE", "/api/tags", "path of /api/tags")                                                    \
  X(Str, OllamaShowRoute, "SGLANG_OLLAMA_SHOW_ROUTE", "/api/show", "path of /api/show")                                                    \
  X(Str, VertexRoute, "AIP_PREDICT_ROUTE", "/vertex_generate", "path of /vertex_generate, as Vertex AI sets it")                           \
  X(Bool, RunOnce, "SGLANG_RUN_ONCE", "false", "./run stops after its first answer")

namespace env {
#define SGL_DECLARE_ENV(type, variable, name, fallback, help) \
  inline constexpr Env##type k##variable{EnvInfo{name, EnvType::k##type, fallback, help}};
SGL_ENVIRONMENT(SGL_DECLARE_ENV)
#undef SGL_DECLARE_ENV
}  // namespace env

const std::vector<EnvInfo>& AllEnv();

// Once at start, before any other thread: old names are copied to the new ones (SGL_X -> SGLANG_X and the named aliases; a name that is
// already set wins), then everything SGLANG_* is checked. Returns one warning line for each old name, malformed value and unknown name.
std::vector<std::string> PrepareEnvironment();

// What --print-env prints: name, type, default, present value, help; one block per variable.
std::string DescribeEnvironment();
// The same without present values, as a Markdown table.
std::string EnvironmentMarkdown();

}  // namespace sgl
