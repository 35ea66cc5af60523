// What every handler may use. One per ApiServer; everything in it outlives the handlers.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "serve/api_server.h"
#include "serve/backend.h"
#include "serve/id_source.h"
#include "serve/journal.h"
#include "serve/otlp.h"
#include "serve/outbox.h"
#include "serve/probe.h"
#include "serve/response_store.h"
#include "text/chat_template.h"
#include "text/prefix_encoder.h"

namespace sgl {

using Exchange = std::shared_ptr<HttpExchange>;

enum class ServerState { kStarting, kUp, kUnhealthy, kStopping };

class HealthMonitor;

// How handlers reach other threads. The server wires these to HttpServer and TextPool, tests to queues of their own.
struct Threads {
  std::function<void(std::function<void()>)> post_http;
  std::function<void(std::chrono::milliseconds, std::function<void()>)> post_http_after;
  std::function<bool(std::function<void()>&&)> post_text;  // false: full
};

struct ApiContext {
  static constexpr size_t kPromptCacheBytes = 32 << 20;  // texts and tokens of long prompts

  ApiContext(ApiConfig c, Backend& b, std::shared_ptr<const ChatTemplate> t, Threads th, uint64_t id_seed)
      : config(std::move(c)),
        backend(b),
        chat_template(std::move(t)),
        threads(std::move(th)),
        ids(id_seed),
        probe(std::make_shared<ServeProbe>(config.metrics)),
        journal(config.journal, config.server_args),
        spans(config.trace),
        outbox(std::make_shared<Outbox>(threads.post_http)),
        tokenizer(backend.tokenizer()),
        prompt_encoder(tokenizer == nullptr ? nullptr : std::make_unique<PrefixEncoder>(*tokenizer, kPromptCacheBytes)) {}

  // tokenizer->Encode(text, add_special_tokens); of a long text only what no earlier one began with costs time. Thread: any.
  std::vector<TokenId> EncodePrompt(std::string_view text, bool add_special_tokens) const {
    return prompt_encoder->Encode(text, add_special_tokens);
  }

  const ApiConfig config;
  Backend& backend;
  const std::shared_ptr<const ChatTemplate> chat_template;  // null: no chat
  const Threads threads;
  IdSource ids;
  const std::shared_ptr<ServeProbe> probe;  // exchanges may outlive the context
  Journal journal;
  SpanExporter spans;
  ResponseStore responses;
  const std::shared_ptr<Outbox> outbox;
  const std::shared_ptr<const Tokenizer> tokenizer;
  const std::unique_ptr<PrefixEncoder> prompt_encoder;
  std::function<double()> unix_now = [] {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  };
  std::function<std::chrono::steady_clock::time_point()> steady_now = [] { return std::chrono::steady_clock::now(); };
  std::atomic<ServerState> state{ServerState::kStarting};
  std::shared_ptr<HealthMonitor> health;
  std::mutex weight_snapshot_mutex;  // text threads; /weights_checker keeps it between two calls
  std::map<std::string, uint64_t> weight_snapshot;
};

}  // namespace sgl
