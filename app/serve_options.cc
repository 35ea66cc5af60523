// SPDX-License-Identifier: Apache-2.0
#include "app/serve_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/cpus.h"
#include "base/env.h"
#include "obs/buckets.h"
#include "obs/metrics.h"
#include "text/reasoning/reasoning_parser.h"
#include "text/tools/tool_parser.h"

namespace sgl {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kMaxTokens = 1e12;

std::chrono::milliseconds FromSeconds(double seconds) { return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000)); }

void ApplyEnvironment(EngineConfig& engine, ApiConfig& api) {
  SchedConfig& sched = engine.sched;
  sched.init_new_token_ratio = env::kInitNewTokenRatio.Get();
  sched.min_new_token_ratio_factor = env::kMinNewTokenRatioFactor.Get();
  sched.new_token_ratio_decay_steps = static_cast<int>(env::kNewTokenRatioDecaySteps.Get());
  sched.retract_decode_steps = static_cast<int>(std::clamp<int64_t>(env::kRetractDecodeSteps.Get(), 0, 1 << 20));
  sched.clip_max_new_tokens = static_cast<int>(env::kClipMaxNewTokens.Get());
  sched.waiting_timeout_s = env::kReqWaitingTimeout.Get();
  sched.running_timeout_s = env::kReqRunningTimeout.Get();
  sched.test_retract_max_running =
      static_cast<int>(std::clamp<int64_t>(env::kTestRetractNoPrefillBs.Get(), 0, std::numeric_limits<int>::max()));
  sched.test_retract_interval = env::kTestRetract.Get() ? static_cast<int>(env::kTestRetractInterval.Get()) : 0;
  engine.allow_longer_context = env::kAllowLongerContext.Get();
  engine.check_when_busy = engine.check_when_busy || env::kStrictMemCheckDuringBusy.Get();
  engine.log_forward_iters = env::kLogForwardIters.Get();
  engine.check_when_idle = env::kStrictMemCheckDuringIdle.Get();
  if (const double seconds = env::kWarmupTimeout.Get(); seconds > 0) api.warm_up_timeout = FromSeconds(seconds);
  api.health_timeout = FromSeconds(env::kHealthCheckTimeout.Get());
  engine.return_original_logprob = env::kReturnOriginalLogprob.Get();
  api.health_generates = env::kHealthGenerates.Get();
  api.journal.log_headers = env::kLogRequestHeaders.Get();
  api.journal.log_headers.insert(api.journal.log_headers.begin(), "x-smg-routing-key");
  for (std::string& name : api.journal.log_headers)
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  api.trace.level = static_cast<int>(env::kTraceLevel.Get());
  api.trace.schedule_delay_ms = static_cast<int>(std::clamp<int64_t>(env::kOtlpDelayMillis.Get(), 1, 3600000));
  api.trace.max_batch = static_cast<int>(std::clamp<int64_t>(env::kOtlpBatch.Get(), 1, 65536));
  api.journal.log_exceeded_ms = env::kLogRequestExceededMs.Get();
  api.forward_unknown_tools = env::kForwardUnknownTools.Get();
  api.default_thinking = env::kDefaultThinking.Get();
  api.tool_strict_level = static_cast<int>(env::kToolStrictLevel.Get());
  api.max_think_tokens = env::kMaxThinkTokens.Get();
  api.http.keep_alive_timeout = FromSeconds(env::kTimeoutKeepAlive.Get());
}

// Routes that the environment puts elsewhere.
Status MoveRoutes(ApiConfig& api) {
  const std::pair<const EnvStr*, const char*> movable[] = {
      {&env::kOllamaRootRoute, "/"},         {&env::kOllamaChatRoute, "/api/chat"}, {&env::kOllamaGenerateRoute, "/api/generate"},
      {&env::kOllamaTagsRoute, "/api/tags"}, {&env::kOllamaShowRoute, "/api/show"}, {&env::kVertexRoute, "/vertex_generate"}};
  for (const auto& [variable, route] : movable) {
    std::string path = variable->Get();
    if (path == variable->info().fallback || path.empty()) continue;
    if (path.front() != '/') return InvalidArgument(fmt::format("{}: '{}' does not begin with '/'", variable->info().name, path));
    api.moved_routes.emplace_back(route, std::move(path));
  }
  return {};
}

Status CheckRootPath(std::string& path) {
  if (!path.empty() && path.front() != '/')
    return InvalidArgument(fmt::format("argument --fastapi-root-path: '{}' does not begin with '/'", path));
  while (!path.empty() && path.back() == '/') path.pop_back();
  return {};
}

void VisitModel(ServeOptions& o, Options& field) {
  EngineConfig& engine = o.engine;
  field.Group("Model and tokenizer");
  field("model-path", engine.model_path,
        "a Hugging Face directory, a .gguf file, or the name of a model in the Hugging Face cache; required", Aliases{{"model"}},
        OptionTrait::kZeroIsUnset);
  field("tokenizer-path", engine.tokenizer_path, "where the tokenizer is; unset: in the model", OptionTrait::kZeroIsUnset);
  field("revision", o.revision, "branch, tag or commit of a model in the Hugging Face cache; unset: main", OptionTrait::kZeroIsUnset);
  field("load-format", engine.load_format, "the form that the model must have; auto: whatever it has",
        Choices{{"auto", "safetensors", "gguf"}});
  field("dtype", engine.dtype, "type of weights and activations that are not quantised",
        Choices{{"auto", "half", "float16", "bfloat16", "float", "float32"}});
  field("quantization", engine.quantization,
        "w8a8_int8: the layers of an unquantised model as bytes, activations too; gguf, unquant or unset: weights as the file has them",
        OptionTrait::kZeroIsUnset, Choices{{"w8a8_int8", "gguf", "unquant"}});
  field("kv-cache-dtype", engine.kv_cache_dtype, "type of cached keys and values",
        Choices{{"auto", "bfloat16", "bf16", "float16", "float32", "fp8_e5m2", "fp8_e4m3", "int8"}});
  field("context-length", engine.context_length, "longest prompt plus answer, in tokens; unset: the model's", OptionTrait::kHumanInt,
        OptionTrait::kZeroIsUnset, Range{1, 1 << 28});
  field("json-model-override-args", engine.json_model_override_args, "JSON object whose members replace those of config.json");
  field("packed-cache-dir", engine.packed_cache_dir,
        "keep the weights there as the kernels want them, and start faster from the second time on; unset: pack them at every start",
        OptionTrait::kZeroIsUnset);
  field("weight-version", engine.weight_version, "a label that replies repeat");
  field("device", o.device, "where to compute", Choices{{"auto", "cpu"}});
  field("threads", engine.threads, "compute threads of each replica; unset: one per core we may use", OptionTrait::kZeroIsUnset,
        Range{1, 1024});
}

// "auto", "none" and the names of every format.
Choices Formats(const auto& formats) {
  Choices choices{{"auto", "none"}};
  for (const auto& format : formats) choices.values.emplace_back(format.name);
  return choices;
}

void VisitHttp(ServeOptions& o, Options& field) {
  ApiConfig& api = o.api;
  field.Group("HTTP server");
  field("host", api.http.host, "address to listen on; 0.0.0.0: every interface");
  field("port", api.http.port, "TCP port; 0: any free one");
  field("fastapi-root-path", api.root_path,
        "the path below which a proxy shows this server; requests may have it in front of theirs, and /openapi.json names it",
        OptionTrait::kZeroIsUnset);
  field("api-key", api.api_key, "requests must carry it as a bearer token; unset: open to everybody who can connect", OptionTrait::kSecret,
        OptionTrait::kZeroIsUnset);
  field("admin-api-key", api.admin_api_key, "the same for administrative routes", OptionTrait::kSecret, OptionTrait::kZeroIsUnset);
  field("ssl-certfile", api.http.tls.certificate_file, "PEM file with the certificate and its chain: serve HTTPS",
        OptionTrait::kZeroIsUnset);
  field("ssl-keyfile", api.http.tls.key_file, "PEM file with the certificate's key", OptionTrait::kZeroIsUnset);
  field("ssl-keyfile-password", api.http.tls.key_password, "password of the key", OptionTrait::kSecret, OptionTrait::kZeroIsUnset);
  field("ssl-ca-certs", api.http.tls.ca_file, "PEM file: certificates that clients show must be signed by one of these",
        OptionTrait::kZeroIsUnset);
  field("served-model-name", o.engine.served_model_name, "the model's name in the API, without ':'; unset: the model path",
        OptionTrait::kZeroIsUnset);
  field("chat-template", o.chat_template,
        "a .jinja or .json file, or a name: chatml, llama-2, llama-3, mistral, deepseek-v3.2...; unset: the model's",
        OptionTrait::kZeroIsUnset);
  field("tool-call-parser", api.tool_call_parser, "how the model writes tool calls; auto: what its chat template shows",
        Formats(ToolFormats()));
  field("reasoning-parser", api.reasoning_parser,
        "how the model writes its reasoning, which replies then keep apart; auto: what its chat template shows",
        Formats(ReasoningFormats()));
  field("enable-strict-thinking", api.strict_thinking,
        "with a reasoning parser: reasoning ends with its own tag only, and has no tokens that end turns or begin tool calls");
  field("sampling-defaults", api.sampling_defaults,
        "where sampling parameters that a request leaves out come from: generation_config.json or OpenAI's", Choices{{"model", "openai"}});
  field("preferred-sampling-params", api.preferred_sampling_params, "JSON object of sampling parameters that replace the defaults");
  field("enable-cache-report", api.enable_cache_report, "say in usage how many prompt tokens came from the cache");
  field("stream-response-default-include-usage", api.stream_includes_usage,
        "streams end with usage unless stream_options.include_usage is false");
  field("allow-auto-truncate", api.auto_truncate, "cut prompts and completions that are too long, where others refuse them");
  field("stream-interval", api.stream_interval, "tokens per streamed piece", Range{1, 1 << 20});
  field("incremental-streaming-output", api.incremental_streaming_output, "native streams carry only what is new",
        Deprecated{{"stream-output"}});
  field("is-embedding", api.is_embedding, "serve embeddings: the last token's final hidden state");
  field("enable-return-hidden-states", api.enable_return_hidden_states, "allow return_hidden_states");
  field("enable-custom-logit-processor", api.enable_custom_logit_processor, "allow custom_logit_processor, by the names of built-in ones");
  field("skip-server-warmup", api.skip_server_warmup, "be ready without a first request");
  field("tokenizer-worker-num", api.text_threads, "threads that parse requests, render templates and tokenize", Range{1, 256});
  field("shutdown-timeout", api.shutdown_timeout, "seconds that running requests get to finish after SIGTERM", Range{0, 1e6});
}

void VisitScheduling(ServeOptions& o, Options& field) {
  EngineConfig& engine = o.engine;
  SchedConfig& sched = engine.sched;
  field.Group("Memory and scheduling");
  field("mem-fraction-static", engine.mem_fraction_static, "share of memory for weights and KV cache; unset: automatic",
        OptionTrait::kZeroIsUnset, Range{0, 1, true});
  field("max-total-tokens", engine.max_total_tokens, "size of the KV cache in tokens; unset: from --mem-fraction-static",
        OptionTrait::kHumanInt, OptionTrait::kZeroIsUnset, Range{1, kMaxTokens});
  field("page-size", engine.page_size, "tokens per page of the KV cache", Range{1, 1024});
  field("max-running-requests", sched.max_running_requests, "requests decoding at once", Range{1, 65536});
  field("max-queued-requests", sched.max_queued_requests, "requests waiting at most, others get a 503; unset: no limit",
        OptionTrait::kZeroIsUnset, Range{1, 1 << 30});
  field("chunked-prefill-size", sched.chunked_prefill_size, "prompt tokens per step, a multiple of the page size; -1: whole prompts",
        OptionTrait::kHumanInt, Range{-1, 1 << 24});
  field("max-prefill-tokens", sched.max_prefill_tokens, "prompt tokens of one prefill batch", OptionTrait::kHumanInt, Range{1, 1 << 28});
  field("prefill-max-requests", sched.prefill_max_requests, "requests of one prefill batch; unset: no limit", OptionTrait::kZeroIsUnset,
        Range{1, 1 << 20});
  field("enable-mixed-chunk", sched.enable_mixed_chunk, "prefill batches take the running requests one token further");
  field("schedule-policy", sched.schedule_policy, "who goes first; docs/scheduling.md says what each means",
        Choices{{"fcfs", "lpm", "dfs-weight", "lof", "random", "routing-key"}});
  field("enable-priority-scheduling", sched.enable_priority_scheduling,
        "requests with a larger `priority` go first and, running, are preempted last; with fcfs or lof");
  field("disable-priority-preemption", sched.disable_priority_preemption, "priorities order the queue only");
  field("default-priority-value", sched.default_priority_value, "priority of requests without one; unset: behind all others");
  field("abort-on-priority-when-disabled", sched.abort_on_priority_when_disabled,
        "refuse requests with a priority when there is no priority scheduling; otherwise it is ignored");
  field("schedule-low-priority-values-first", sched.schedule_low_priority_values_first, "smaller values of `priority` go first");
  field("priority-scheduling-preemption-threshold", sched.priority_scheduling_preemption_threshold,
        "a waiting request preempts running ones whose priority is worse by more than this", Range{0, 1e15});
  field("schedule-conservativeness", sched.schedule_conservativeness, "above 1: admit later, retract less", Range{0, kInfinity});
  field("disable-radix-cache", engine.disable_radix_cache, "do not reuse the keys and values of common prefixes");
  field("grammar-backend", engine.grammar_backend,
        "structured output; xgrammar, outlines, llguidance: SGLang's names, all mean the engine's own; none: requests with a grammar are "
        "refused",
        Choices{{"xgrammar", "outlines", "llguidance", "none"}});
  field("constrained-json-whitespace-pattern", engine.constrained_json_whitespace_pattern,
        "regular expression for white space between JSON tokens; \"\": any", OptionTrait::kZeroIsUnset);
  field("constrained-json-disable-any-whitespace", engine.constrained_json_disable_any_whitespace,
        "JSON with exactly ', ' and ': ' between its parts");
  field("random-seed", engine.random_seed, "seed of sampling; unset: a random one");
}

}  // namespace

void ServeOptions::VisitEngine(Options& field) {
  VisitModel(*this, field);
  VisitScheduling(*this, field);
}

void ServeOptions::Visit(Options& field) {
  VisitEngine(field);
  VisitHttp(*this, field);
  field.Group("Replicas");
  field("dp-size", engine.dp_size,
        "replicas that share the weights, each with its own cores, KV cache and queue; --max-running-requests is dealt out to them",
        Aliases{{"data-parallel-size"}}, Range{1, 256});
  field("load-balance-method", load_balance_method,
        "which replica gets a request; auto: round_robin; total_requests, shortest_queue: the one with the fewest requests; total_tokens: "
        "the one whose requests have the fewest tokens",
        Choices{{"auto", "round_robin", "total_requests", "shortest_queue", "total_tokens"}});
  field.Group("Logging");
  field("log-level", log_level, "least important lines to write to stderr", Choices{{"debug", "info", "warning", "error", "critical"}});
  field("log-level-http", log_level_http, "the same for the access log, one line per HTTP reply; unset: as --log-level",
        OptionTrait::kZeroIsUnset, Choices{{"debug", "info", "warning", "error", "critical"}});
  field("uvicorn-access-log-exclude-prefixes", api.access_log_exclude_prefixes, "paths that begin so have no line in the access log");
  JournalConfig& journal = api.journal;
  field("log-requests", journal.log_requests, "one line per request and per reply");
  field("log-requests-level", journal.log_requests_level,
        "0: metadata; 1: and sampling parameters; 2: and texts, shortened to 2048 characters; 3: everything", Range{0, 3});
  field("log-requests-format", journal.log_requests_format, "form of these lines", Choices{{"text", "json"}});
  field("log-requests-target", journal.log_requests_target, "stdout, or folders for hourly files; unset: stderr, with the rest of the log");
  field("enable-request-time-stats-logging", api.log_time_stats,
        "a line per request that has ended: lengths, time in the queue, time after");
  field("decode-log-interval", engine.decode_log_interval, "decode steps between two lines of statistics", Range{1, 1 << 30});
  field.Group("Metrics");
  MetricsConfig& metrics = api.metrics;
  field("enable-metrics", api.enable_metrics, "serve Prometheus metrics at /metrics, and more times in meta_info");
  field("extra-metric-labels", extra_metric_labels, "JSON object of labels for every sample");
  field("bucket-time-to-first-token", ttft_buckets, "ascending upper bounds in seconds; unset: SGLang's");
  field("bucket-inter-token-latency", itl_buckets, "ascending upper bounds in seconds; unset: SGLang's");
  field("bucket-e2e-request-latency", e2e_buckets, "ascending upper bounds in seconds; unset: SGLang's");
  field("prompt-tokens-buckets", prompt_tokens_buckets, "default | tse <middle> <base> <count> | custom <bound>...");
  field("generation-tokens-buckets", generation_tokens_buckets, "default | tse <middle> <base> <count> | custom <bound>...");
  field("tokenizer-metrics-custom-labels-header", metrics.custom_labels_header, "header with a JSON object of label values");
  field("tokenizer-metrics-allowed-custom-labels", metrics.allowed_custom_labels, "labels that this header may set");
  field("export-metrics-to-file", journal.export_metrics_to_file, "one JSON line per request into hourly files");
  field("export-metrics-to-file-dir", journal.export_metrics_to_file_dir, "folder of these files", OptionTrait::kZeroIsUnset);
  field.Group("Traces and crashes");
  field("enable-trace", api.trace.enabled, "send a span per request and stage to an OpenTelemetry collector (OTLP over HTTP, JSON)");
  field("otlp-traces-endpoint", api.trace.endpoint, "the collector, host:port or URL");
  field("crash-dump-folder", crash_dump_folder, "folder for a report (stack, last 100 requests) if the process crashes; unset: stderr only",
        OptionTrait::kZeroIsUnset);
  field("watchdog-timeout", watchdog.timeout_s, "seconds that one step may take; then the process ends with a crash report; 0: for ever",
        Range{0, 1e9});
  field("soft-watchdog-timeout", watchdog.soft_timeout_s, "seconds after which that is only logged; unset: never",
        OptionTrait::kZeroIsUnset, Range{0, 1e9});
  field.Group("Other");
  field("config", config_file, "a YAML file with flags as keys; flags on the command line win", OptionTrait::kZeroIsUnset);
  field("print-env", print_env, "print the environment variables with types, defaults and values, then stop");
  field("help-markdown", help_markdown, "print docs/options.md, then stop", OptionTrait::kHidden);
  field.Foreign(ForeignFlags());
}

Status ServeOptions::Finish() {
  if (engine.model_path.empty()) return InvalidArgument("the following arguments are required: --model-path");
  if (engine.served_model_name.empty()) engine.served_model_name = engine.model_path;
  if (engine.served_model_name.find(':') != std::string::npos)
    return InvalidArgument(
        fmt::format("argument --served-model-name: '{}' contains ':', which is reserved for adapters", engine.served_model_name));
  const int chunk = engine.sched.chunked_prefill_size;
  if (chunk == 0) return InvalidArgument("argument --chunked-prefill-size: 0 is neither -1 nor a number of tokens");
  if (chunk > 0 && chunk % engine.page_size != 0)
    return InvalidArgument(fmt::format("argument --chunked-prefill-size: {} is not a multiple of --page-size {}", chunk, engine.page_size));
  if (engine.max_total_tokens != 0 && engine.max_total_tokens < engine.page_size)
    return InvalidArgument(
        fmt::format("argument --max-total-tokens: {} is less than one page of {} tokens", engine.max_total_tokens, engine.page_size));
  const Result<Json> overrides = ParseJson(engine.json_model_override_args);
  if (!overrides.ok()) return Error(overrides.error()).In("argument --json-model-override-args");
  if (!overrides->is_object())
    return InvalidArgument(fmt::format("argument --json-model-override-args: expected a JSON object, got {}", overrides->type_name()));
  if (engine.dtype == "half") engine.dtype = "float16";
  if (engine.dtype == "float") engine.dtype = "float32";
  if (!chat_template.empty()) {
    Result<std::string> text = ReadChatTemplate(chat_template);
    if (!text.ok()) return std::move(text).error().In("argument --chat-template");
    api.chat_template = *std::move(text);
  }
  TRY_STATUS(FinishMetrics());
  TRY_STATUS(CheckRootPath(api.root_path));
  ApplyEnvironment(engine, api);
  TRY_STATUS(MoveRoutes(api));
  Result<std::vector<std::vector<int>>> cpus = ParseThreadsBind(env::kCpuOmpThreadsBind.Get(), engine.dp_size);
  if (!cpus.ok()) return std::move(cpus).error().In("SGLANG_CPU_OMP_THREADS_BIND");
  engine.cpus = *std::move(cpus);
  return {};
}

Status ServeOptions::FinishMetrics() {
  MetricsConfig& metrics = api.metrics;
  metrics.priorities = engine.sched.enable_priority_scheduling;
  const auto bounds = [](const char* flag, const std::vector<std::string>& words, auto parse, std::vector<double>& out) -> Status {
    if (words.empty()) return {};
    Result<std::vector<double>> parsed = parse(words);
    if (!parsed.ok()) return std::move(parsed).error().In(fmt::format("argument --{}", flag));
    out = *std::move(parsed);
    return {};
  };
  TRY_STATUS(bounds("bucket-time-to-first-token", ttft_buckets, buckets::ParseBounds, metrics.time_to_first_token));
  TRY_STATUS(bounds("bucket-inter-token-latency", itl_buckets, buckets::ParseBounds, metrics.inter_token_latency));
  TRY_STATUS(bounds("bucket-e2e-request-latency", e2e_buckets, buckets::ParseBounds, metrics.e2e_latency));
  TRY_STATUS(bounds("prompt-tokens-buckets", prompt_tokens_buckets, buckets::ParseTokenRule, metrics.prompt_tokens));
  TRY_STATUS(bounds("generation-tokens-buckets", generation_tokens_buckets, buckets::ParseTokenRule, metrics.generation_tokens));
  if (extra_metric_labels.is_object()) {
    for (const auto& [name, value] : extra_metric_labels.as_object()) {
      if (!IsMetricLabel(name)) return InvalidArgument(fmt::format("argument --extra-metric-labels: '{}' is not a label name", name));
      metrics.extra_labels.emplace_back(name, value.is_string() ? value.as_string() : DumpJson(value));
    }
  }
  for (const std::string& name : metrics.allowed_custom_labels)
    if (!IsMetricLabel(name))
      return InvalidArgument(fmt::format("argument --tokenizer-metrics-allowed-custom-labels: '{}' is not a label name", name));
  for (char& c : metrics.custom_labels_header) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (api.journal.export_metrics_to_file && api.journal.export_metrics_to_file_dir.empty())
    return InvalidArgument("argument --export-metrics-to-file: needs --export-metrics-to-file-dir");
  const std::string& access = log_level_http.empty() ? log_level : log_level_http;
  api.access_log = access == "debug" || access == "info";
  return {};
}

}  // namespace sgl
