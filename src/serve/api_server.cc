// SPDX-License-Identifier: Apache-2.0
#include "serve/api_server.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "obs/log.h"
#include "serve/api.h"
#include "serve/api/chat_format.h"
#include "serve/params.h"
#include "serve/text_pool.h"
#include "text/chat_template.h"
#include "text/encoders/deepseek_v32.h"

namespace sgl {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kAbortTimeout{5000};  // after the drain failed: how long aborted requests may take to end
constexpr milliseconds kFlushTimeout{2000};  // last bytes of the last replies
constexpr size_t kWaitingTexts = 16384;      // requests that wait for a text thread

// --chat-template, else the model's own, else ChatML, which most models without one at least understand.
std::string TemplateSource(const ApiConfig& config, const Replicas& engine) {
  if (!config.chat_template.empty()) return config.chat_template;
  if (!engine.chat_template().empty()) return engine.chat_template();
  LOG_WARNING("The model has no chat template: chat requests use ChatML unless --chat-template gives another");
  return std::string(BuiltinChatTemplate("internlm2-chat"));  // ChatML without a system message of its own
}

// DeepSeek-V3.2's encoder: by its name; or, where the user gives no template, by its calls' format or because the model has none.
bool WantsDeepSeekV32(const ApiConfig& config, const Replicas& engine) {
  if (!config.chat_template.empty()) return config.chat_template == kDeepSeekV32;
  if (config.tool_call_parser == "deepseekv32") return true;
  if (!engine.chat_template().empty()) return false;
  const std::vector<std::string>& names = engine.info().architectures;
  return std::any_of(names.begin(), names.end(), [](const std::string& name) { return name.find("DeepseekV3") != std::string::npos; });
}

Result<std::shared_ptr<const ChatTemplate>> MakeChatTemplate(std::string source) {
  Result<std::unique_ptr<ChatTemplate>> parsed = ChatTemplate::Parse(std::move(source));
  if (!parsed.ok()) return std::move(parsed).error().In("chat template");
  return std::shared_ptr<const ChatTemplate>(*std::move(parsed));
}

Status CheckConfig(const ApiConfig& config, int64_t vocab_size) {
  if (config.sampling_defaults != "model" && config.sampling_defaults != "openai")
    return InvalidArgument("sampling_defaults: expected model or openai, got '" + config.sampling_defaults + "'");
  if (Status endpoint = SpanExporter::CheckEndpoint(config.trace.endpoint); !endpoint.ok())
    return std::move(endpoint).error().In("--otlp-traces-endpoint");
  if (config.preferred_sampling_params.is_null()) return {};
  SamplingAsked preferred;
  TRY_STATUS(ReadSamplingParams(config.preferred_sampling_params, "preferred_sampling_params", preferred));
  TRY(const SamplingParams checked, CheckSamplingParams(std::move(preferred), vocab_size));
  (void)checked;
  return {};
}

}  // namespace

struct ApiServer::Impl {
  Impl(ApiConfig c, Replicas& b) : config(std::move(c)), backend(b) {}

  Status ReadTemplate();  // and what it tells of parsers

  void WarmUp();
  bool Wait(milliseconds timeout);  // for `warm` or `stopping`; false: neither came
  void Serve();
  void Shutdown();

  ApiConfig config;  // does not change after Start
  Replicas& backend;
  std::shared_ptr<const ChatTemplate> chat_template;
  std::unique_ptr<Api> api;
  std::unique_ptr<HttpServer> http;
  std::unique_ptr<TextPool> text;
  std::thread http_thread;

  std::mutex mutex;  // the thread in Run sleeps until another one has news
  std::condition_variable news;
  bool warm = false, stopping = false;  // guarded by mutex
  Status warm_up_status;                // guarded by mutex
};

ApiServer::ApiServer(ApiConfig config, Replicas& engines) : impl_(std::make_unique<Impl>(std::move(config), engines)) {}

ApiServer::~ApiServer() {
  if (impl_->http_thread.joinable()) impl_->Shutdown();
}

Status ApiServer::Start() {
  Impl& s = *impl_;
  TRY_STATUS(CheckConfig(s.config, s.backend.info().vocab_size));
  TRY_STATUS(s.ReadTemplate());
  s.text = std::make_unique<TextPool>(s.config.text_threads, kWaitingTexts);
  Threads threads;
  threads.post_http = [&s](std::function<void()> task) { s.http->Post(std::move(task)); };
  threads.post_http_after = [&s](milliseconds delay, std::function<void()> task) { s.http->PostAfter(delay, std::move(task)); };
  threads.post_text = [&s](std::function<void()>&& task) { return s.text->Post(std::move(task)); };
  s.api = std::make_unique<Api>(s.config, s.backend, s.chat_template, std::move(threads), std::random_device{}());
  s.http =
      std::make_unique<HttpServer>(s.config.http, [&s](std::shared_ptr<HttpExchange> exchange) { s.api->Handle(std::move(exchange)); });
  TRY_STATUS(s.http->Listen());
  s.http_thread = std::thread([&s] { s.http->Run(); });
  LOG_INFO("Uvicorn running on {}://{}:{} (Press CTRL+C to quit)", s.config.http.tls.enabled() ? "https" : "http", s.config.http.host,
           s.http->port());
  return {};
}

Status ApiServer::Impl::ReadTemplate() {
  const bool native = WantsDeepSeekV32(config, backend);
  std::string source = native ? std::string(kDeepSeekV32) : TemplateSource(config, backend);
  config.reasoning_by_prompt = config.reasoning_parser == "auto";
  if (native && config.tool_call_parser == "auto") config.tool_call_parser = "deepseekv32";
  if (native && config.reasoning_parser == "auto") config.reasoning_parser = "deepseek-v3";
  TRY(config.tool_call_parser, ResolveToolFormat(config.tool_call_parser, source));
  TRY(config.reasoning_parser, ResolveReasoningFormat(config.reasoning_parser, source));
  config.tool_call_parser = SpellingOf(std::move(config.tool_call_parser), *backend.tokenizer());
  config.reasoning_parser = SpellingOf(std::move(config.reasoning_parser), *backend.tokenizer());
  LOG_INFO("Tool calls are read as {}, reasoning as {}", config.tool_call_parser.empty() ? "text" : config.tool_call_parser,
           config.reasoning_parser.empty() ? "text" : config.reasoning_parser);
  if (native) {
    chat_template = MakeDeepSeekV32(config.default_thinking);
    return {};
  }
  TRY(chat_template, MakeChatTemplate(std::move(source)));
  return {};
}

uint16_t ApiServer::port() const { return impl_->http->port(); }

bool ApiServer::Impl::Wait(milliseconds timeout) {
  std::unique_lock lock(mutex);
  return news.wait_for(lock, timeout, [&] { return warm || stopping; });
}

void ApiServer::Impl::WarmUp() {
  if (config.skip_server_warmup) {
    ServerState starting = ServerState::kStarting;
    api->context().state.compare_exchange_strong(starting, ServerState::kUp);
    return;
  }
  api->WarmUp([this](Status status) {
    std::lock_guard lock(mutex);
    warm = true;
    warm_up_status = std::move(status);
    news.notify_all();
  });
  const bool answered = Wait(config.warm_up_timeout);
  std::lock_guard lock(mutex);
  if (!answered) warm_up_status = Internal("the warm-up request was not answered");
  if (!warm_up_status.ok()) LOG_ERROR("Warm-up failed: {}", warm_up_status.error().message);
}

void ApiServer::Impl::Serve() {
  std::unique_lock lock(mutex);
  if (!stopping && warm_up_status.ok()) {
    LOG_INFO("The server is fired up and ready to roll!");
    news.wait(lock, [&] { return stopping; });
  }
}

// Requests in flight may end; what still runs at the deadline is aborted, so that every client gets its reply. Then the sockets close.
void ApiServer::Impl::Shutdown() {
  api->context().state = ServerState::kStopping;
  if (!backend.Drain(config.shutdown_timeout)) {
    LOG_WARNING("Requests still running after {} ms are aborted", config.shutdown_timeout.count());
    backend.AbortAll();
    (void)backend.Drain(kAbortTimeout);
  }
  text->Stop();
  // The last deltas are in the outbox, whose task is queued on the http thread before this one.
  http->Post([this] { http->StopAccepting(); });
  for (milliseconds waited{0}; waited < kFlushTimeout && http->connections() > 0; waited += milliseconds(10))
    std::this_thread::sleep_for(milliseconds(10));
  api->context().outbox->Close();
  http->Stop();
  http_thread.join();
}

void ApiServer::Run() {
  impl_->WarmUp();
  impl_->Serve();
  impl_->Shutdown();
}

void ApiServer::RequestShutdown() {
  if (impl_->api != nullptr) impl_->api->context().state = ServerState::kStopping;
  std::lock_guard lock(impl_->mutex);
  impl_->stopping = true;
  impl_->news.notify_all();
}

Status ApiServer::warm_up_status() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->warm_up_status;
}

}  // namespace sgl
