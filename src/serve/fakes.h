// Doubles for tests and fuzzers: an exchange in memory, a scripted engine, a tokenizer of bytes, a template that prints what it gets.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "serve/api.h"

namespace sgl {

// Thread: replies and OnClose from any, Disconnect from one; look at the members when nobody replies any more.
class FakeExchange final : public HttpExchange {
 public:
  explicit FakeExchange(HttpRequest request) : request_(std::move(request)) {}
  const HttpRequest& request() const override { return request_; }
  void Send(int status, std::string_view content_type, std::string body, HttpHeaders extra) override {
    std::lock_guard lock(mutex_);
    ++replies;
    this->status = status;
    this->content_type = content_type;
    this->body = std::move(body);
    headers = std::move(extra);
    ended = true;
  }
  void StartStream(std::string_view content_type, HttpHeaders extra) override {
    Send(200, content_type, "", std::move(extra));
    std::lock_guard lock(mutex_);
    streaming = true;
    ended = false;
  }
  void Write(std::string chunk) override {
    std::lock_guard lock(mutex_);
    if (!closed_) chunks.push_back(std::move(chunk));
  }
  void EndStream() override {
    std::lock_guard lock(mutex_);
    ended = true;
  }
  void OnClose(std::function<void()> callback) override {
    {
      std::lock_guard lock(mutex_);
      if (!closed_) {
        on_close_ = std::move(callback);
        return;
      }
    }
    callback();
  }
  bool closed() const override {
    std::lock_guard lock(mutex_);
    return closed_;
  }
  void Disconnect() {
    std::function<void()> callback;
    {
      std::lock_guard lock(mutex_);
      if (ended) return;
      closed_ = true;
      callback = std::exchange(on_close_, {});
    }
    if (callback) callback();
  }
  // Each chunk must be exactly one event: "data: <json>", the same after "event: <its type>", or a line.
  std::vector<std::string> events() const {
    std::vector<std::string> out;
    for (const std::string& chunk : chunks) out.push_back(EventOf(chunk));
    return out;
  }

  int replies = 0, status = 0;
  std::string content_type, body;
  HttpHeaders headers;
  std::vector<std::string> chunks;
  bool streaming = false, ended = false;

 private:
  std::string EventOf(const std::string& chunk) const {
    const std::string_view text = chunk;
    if (text.substr(0, 2) == ": " && text.find('\n') == text.size() - 2) return chunk.substr(0, chunk.size() - 2);  // a comment
    if (content_type == "application/x-ndjson" && text.find('\n') == text.size() - 1) return chunk.substr(0, chunk.size() - 1);
    size_t data = 0;
    std::string type;
    if (text.substr(0, 7) == "event: ") {
      data = text.find('\n') + 1;
      type = chunk.substr(7, data - 8);
    }
    const std::string_view line = text.substr(data);
    const bool framed = line.size() >= 8 && line.substr(0, 6) == "data: " && line.find('\n') == line.size() - 2;
    if (!framed || (!type.empty() && line.find("{\"type\":\"" + type + "\"") != 6)) return "badly framed: " + chunk;
    return std::string(line.substr(6, line.size() - 8));
  }

  const HttpRequest request_;
  mutable std::mutex mutex_;
  std::function<void()> on_close_;
  bool closed_ = false;
};

// One token per byte; "<s>" is 256 (BOS), "</s>" 257 (EOS), "<t>" 258 (special too).
class ByteTokenizer : public Tokenizer {
 public:
  ByteTokenizer() {
    bos = 256;
    eos = 257;
    bos_text = "<s>";
    eos_text = "</s>";
    add_bos = true;
    model_max_length = 4096;
    for (int i = 0; i < 256; ++i) bytes_.push_back(std::string(1, static_cast<char>(i)));
    for (const char* special : {"<s>", "</s>", "<t>"}) bytes_.push_back(special);
  }
  std::vector<TokenId> Encode(std::string_view text, bool add_special_tokens) const override {
    std::vector<TokenId> ids;
    if (add_special_tokens) ids.push_back(256);
    while (!text.empty()) {
      TokenId id = static_cast<unsigned char>(text[0]);
      for (TokenId special = 256; special < 259; ++special)
        if (text.substr(0, TokenBytes(special).size()) == TokenBytes(special)) id = special;
      ids.push_back(id);
      text.remove_prefix(TokenBytes(id).size());
    }
    return ids;
  }
  bool knows_cuts() const override { return true; }  // though EncodeFrom reports none
  std::span<const TokenId> prefix_tokens() const override { return prefix_; }
  std::string Decode(std::span<const TokenId> ids, bool skip_special_tokens) const override {
    std::string out;
    for (const TokenId id : ids)
      if (!skip_special_tokens || !IsSpecial(id)) out += TokenBytes(id);
    return out;
  }
  std::string_view TokenBytes(TokenId id) const override {
    return id >= 0 && id < vocab_size() ? std::string_view(bytes_[static_cast<size_t>(id)]) : std::string_view();
  }
  bool IsSpecial(TokenId id) const override { return id >= 256; }
  int64_t vocab_size() const override { return static_cast<int64_t>(bytes_.size()); }
  std::optional<TokenId> TokenToId(std::string_view token) const override {
    for (TokenId id = 0; id < 259; ++id)
      if (TokenBytes(id) == token) return id;
    return {};
  }
  std::string IdToToken(TokenId id) const override { return std::string(TokenBytes(id)); }

 private:
  std::vector<std::string> bytes_;
  const std::vector<TokenId> prefix_ = {256};
};

// The prompt is the variables as JSON, each message on its line. Content "RAISE" fails; "BARE" fails unless tools are bare functions,
// "TEXT" unless the arguments of the message's tool calls are text.
class PrintingTemplate final : public ChatTemplate {
 public:
  explicit PrintingTemplate(bool parts) : parts_(parts) {}
  Result<std::string> Render(const Json& variables) const override {
    std::string out;
    for (const auto& [name, value] : variables.as_object()) {
      if (name != "messages") out += name + "=" + DumpJson(value) + " ";
    }
    for (const Json& message : variables["messages"].as_array()) {
      if (message["content"] == Json("RAISE")) return InvalidArgument("raised by the template");
      if (message["content"] == Json("BARE") && variables["tools"].is_array() && variables["tools"].as_array()[0].find("name") == nullptr)
        return InvalidArgument("tools must be functions");
      const Json& calls = message["tool_calls"];
      if (message["content"] == Json("TEXT") && calls.is_array() && calls.as_array()[0]["function"]["arguments"].is_object())
        return InvalidArgument("arguments must be text");
      out += "\n" + DumpJson(message);
    }
    return out;
  }
  Result<std::string> RenderAt(const Json& variables, int64_t) const override { return Render(variables); }
  bool wants_content_parts() const override { return parts_; }

 private:
  const bool parts_;
};

// Takes requests and lets the test say what the engine says.
class FakeBackend final : public Backend {
 public:
  struct Accepted {
    GenerateRequest request;
    Sink sink;
    int64_t completion_tokens = 0;
    bool aborted = false;
  };

  Result<RequestId> Submit(GenerateRequest request, Sink sink) override {
    if (refuse_after == 0) return refusal;
    if (refuse_after > 0) --refuse_after;
    accepted.push_back({std::move(request), std::move(sink)});
    return RequestId{accepted.size()};
  }
  void Abort(RequestId id) override { accepted[Index(id) - 1].aborted = true; }
  void AbortRid(const std::string& rid) override { aborted_rids.push_back(rid); }
  void AbortAll() override { aborted_rids.push_back("*"); }
  void FlushCache(std::chrono::milliseconds timeout, std::function<void(bool)> done) override {
    flush_timeout = timeout;
    done(flush_result);
  }
  void Control(ControlRequest request, ControlDone done) override {
    controls.push_back(std::move(request));
    done(control_answer);
  }
  bool Drain(std::chrono::milliseconds) override { return true; }
  const EngineInfo& info() const override { return info_; }
  std::vector<EngineStats> stats() const override { return std::vector<EngineStats>(static_cast<size_t>(replicas), stats_); }
  std::vector<const EngineProbe*> probes() const override {
    return std::vector<const EngineProbe*>(static_cast<size_t>(replicas), &probe_);
  }
  std::optional<int> RankOf(RequestId id) const override {
    return replicas > 1 ? std::optional<int>(Engine::RankOf(id, replicas)) : std::nullopt;
  }
  Profiler& profiler() override { return profiler_; }
  std::shared_ptr<const Tokenizer> tokenizer() const override { return tokenizer_; }

  // Fills in totals; with `finish` the sink is destroyed, as the engine does.
  void Say(size_t index, TokenDelta delta) {
    Accepted& a = accepted[index];
    if (!a.sink) return;
    a.completion_tokens += static_cast<int64_t>(delta.tokens.size());
    stats_.tokens_produced += static_cast<int64_t>(delta.tokens.size());
    delta.id = RequestId{index + 1};
    delta.prompt_tokens = static_cast<int64_t>(a.request.prompt.size());
    delta.completion_tokens = a.completion_tokens;
    const bool last = delta.finish.has_value();
    if (last) delta.e2e_latency_s = 0.25;
    a.sink(std::move(delta));
    if (last) a.sink = {};
  }

  std::vector<Accepted> accepted;
  std::vector<std::string> aborted_rids;
  int refuse_after = -1;  // accepted before `refusal`; -1: no refusal
  Error refusal;
  int replicas = 1;  // that it says it is
  bool flush_result = true;
  std::chrono::milliseconds flush_timeout{-1};
  std::vector<ControlRequest> controls;
  Result<std::string> control_answer = std::string("said");
  EngineInfo info_;
  EngineStats stats_;
  EngineProbe probe_;
  Profiler profiler_;

 private:
  std::shared_ptr<const Tokenizer> tokenizer_ = std::make_shared<ByteTokenizer>();
};

// An API on one thread: text tasks run at once, http tasks when Run is called, delayed ones when time is let pass.
class FakeServer {
 public:
  explicit FakeServer(ApiConfig config = {}, bool parts = false)
      : api_(std::move(config), SetUp(), MakeTemplate(parts), MakeThreads(), 42) {
    api_.context().unix_now = [] { return 1700000000.5; };
    api_.context().state = ServerState::kUp;
  }
  std::shared_ptr<FakeExchange> Handle(HttpRequest request) {
    auto exchange = std::make_shared<FakeExchange>(std::move(request));
    api_.Handle(exchange);
    Run();
    return exchange;
  }
  std::shared_ptr<FakeExchange> Post(std::string path, std::string body) {
    return Handle({"POST", std::move(path), "", {{"content-type", "application/json"}}, std::move(body)});
  }
  std::shared_ptr<FakeExchange> Get(std::string path, std::string query = "") {
    return Handle({"GET", std::move(path), std::move(query), {}, ""});
  }
  void Say(size_t index, TokenDelta delta) {
    backend.Say(index, std::move(delta));
    Run();
  }
  void Run() {
    while (!tasks_.empty()) {
      std::vector<std::function<void()>> tasks = std::exchange(tasks_, {});
      for (auto& task : tasks) task();
    }
  }
  void Pass(std::chrono::milliseconds time) {
    const std::chrono::milliseconds end = now_ + time;
    while (!timers_.empty() && timers_.begin()->first <= end) {
      auto timer = timers_.extract(timers_.begin());
      now_ = timer.key();
      timer.mapped()();
      Run();
    }
    now_ = end;
  }
  ApiContext& context() { return api_.context(); }
  Api& api() { return api_; }

  FakeBackend backend;
  bool text_full = false;

 private:
  Backend& SetUp() {
    EngineInfo& info = backend.info_;
    info.model_path = "org/toy";
    info.served_model_name = "org/toy";
    info.weight_version = "default";
    info.model_type = "toy";
    info.architectures = {"ToyForCausalLM"};
    info.context_length = 2000;
    info.vocab_size = 259;
    info.max_total_tokens = 8000;
    info.max_req_input_len = 1994;
    info.max_running_requests = 8;
    return backend;
  }
  static std::shared_ptr<const ChatTemplate> MakeTemplate(bool parts) { return std::make_shared<PrintingTemplate>(parts); }
  Threads MakeThreads() {
    return {[this](std::function<void()> task) { tasks_.push_back(std::move(task)); },
            [this](std::chrono::milliseconds delay, std::function<void()> task) { timers_.emplace(now_ + delay, std::move(task)); },
            [this](std::function<void()>&& task) {
              if (text_full) return false;
              task();
              return true;
            }};
  }
  std::vector<std::function<void()>> tasks_;
  std::multimap<std::chrono::milliseconds, std::function<void()>> timers_;
  std::chrono::milliseconds now_{0};
  Api api_;
};

}  // namespace sgl
