// The HTTP API: routes, OpenAI and native endpoints, errors, server-sent events.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "engine/engine.h"
#include "serve/http_server.h"
#include "serve/journal.h"
#include "serve/otlp.h"
#include "serve/probe.h"
#include "serve/replicas.h"

namespace sgl {

struct ApiConfig {
  HttpServerConfig http;
  std::string root_path;  // "/x": requests may have it in front of their path; "": none
  // {a path of the route table, where it is instead}. With one for "/" the server says there that it is an Ollama.
  std::vector<std::pair<std::string, std::string>> moved_routes;
  std::string api_key;  // "": open
  std::string admin_api_key;
  std::string chat_template;                // text of --chat-template, or the name of an encoder; "": the model's
  bool default_thinking = false;            // SGLANG_DEFAULT_THINKING
  std::string tool_call_parser = "auto";    // a name of ToolFormats(), auto (what the chat template tells), none or ""
  std::string reasoning_parser = "none";    // likewise of ReasoningFormats()
  bool reasoning_by_prompt = false;         // only the prompt, or a tag, says that an answer is reasoning: with auto
  bool forward_unknown_tools = false;       // SGLANG_FORWARD_UNKNOWN_TOOLS
  int tool_strict_level = 0;                // SGLANG_TOOL_STRICT_LEVEL
  bool strict_thinking = false;             // reasoning ends with its tag and holds no tags of turns and tool calls
  int64_t max_think_tokens = -1;            // SGLANG_MAX_THINK_TOKENS; < 0: any number
  std::string sampling_defaults = "model";  // or "openai"
  Json preferred_sampling_params;           // null or an object
  bool enable_cache_report = false;
  bool stream_includes_usage = false;  // unless a request's stream_options say otherwise
  bool auto_truncate = false;          // prompts that are too long lose their end, completions are as long as there is room
  bool log_time_stats = false;         // a line per request that has ended
  bool incremental_streaming_output = false;
  bool skip_server_warmup = false;
  JournalConfig journal;
  bool enable_metrics = false;  // serve /metrics
  MetricsConfig metrics;
  TraceConfig trace;
  bool access_log = false;  // one line per HTTP reply
  std::vector<std::string> access_log_exclude_prefixes;
  bool is_embedding = false;  // serve embeddings
  bool enable_return_hidden_states = false;
  bool enable_custom_logit_processor = false;
  int stream_interval = 1;
  int text_threads = 1;  // rendering, tokenizing, request parsing
  std::chrono::milliseconds shutdown_timeout{60000};
  std::chrono::milliseconds warm_up_timeout{600000};  // SGLANG_WARMUP_TIMEOUT
  std::chrono::milliseconds health_timeout{20000};    // SGLANG_HEALTH_CHECK_TIMEOUT
  bool health_generates = true;                       // SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION
  std::string version = "0.1.0";
  Json server_args;  // every option by its name, for /server_info; keys already masked
};

// Thread: construct, Start and Run from one thread; RequestShutdown from any (also a signal-handling thread).
class ApiServer {
 public:
  ApiServer(ApiConfig config, Replicas& engines);  // which outlive it
  ~ApiServer();
  Status Start();  // parses the chat template, binds; after it /v1/models answers and /health says 503
  uint16_t port() const;
  void Run();                     // warm-up, "The server is fired up and ready to roll!", serves; returns after a shutdown has drained
  void RequestShutdown();         // unhealthy at once, no new requests, drains within shutdown_timeout, then Run returns
  Status warm_up_status() const;  // after Run: an error when it returned because the warm-up failed; the process should exit with 1

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sgl
