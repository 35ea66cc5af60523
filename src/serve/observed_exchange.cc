// SPDX-License-Identifier: Apache-2.0
#include "serve/observed_exchange.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "obs/log.h"
#include "serve/http_reply.h"
#include "serve/probe.h"
#include "serve/reply.h"

namespace sgl {
namespace {

constexpr size_t kMaxRequestId = 256;

// A label value: methods are text that clients choose.
std::string KnownMethod(const std::string& method) {
  for (const char* known : {"GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH"})
    if (method == known) return method;
  return "OTHER";
}

// Shared by the exchange and its OnClose callback, which must not own the exchange. Thread: any; Done counts once.
class Observation {
 public:
  Observation(std::shared_ptr<ServeProbe> probe, const HttpRequest& request, std::string endpoint, bool log)
      : probe_(std::move(probe)), endpoint_(std::move(endpoint)), method_(KnownMethod(request.method)) {
    probe_->http_requests.at({{"endpoint", endpoint_}, {"method", method_}}).Add();
    probe_->http_active.at({{"endpoint", endpoint_}, {"method", method_}}).Add(1);
    if (log)
      line_ = fmt::format("INFO:     {} - \"{} {}{}{} HTTP/1.1\"", request.peer.empty() ? "?" : request.peer, request.method, request.path,
                          request.query.empty() ? "" : "?", request.query);
  }
  ~Observation() { Done(500); }
  Observation(const Observation&) = delete;
  Observation& operator=(const Observation&) = delete;

  void Done(int status) {
    if (done_.exchange(true)) return;
    probe_->http_active.at({{"endpoint", endpoint_}, {"method", method_}}).Add(-1);
    probe_->http_responses.at({{"endpoint", endpoint_}, {"status_code", std::to_string(status)}, {"method", method_}}).Add();
    if (!line_.empty()) LogLine(LogLevel::kInfo, fmt::format("{} {} {}", line_, status, HttpReason(status)));
  }

 private:
  const std::shared_ptr<ServeProbe> probe_;
  const std::string endpoint_, method_;
  std::string line_;
  std::atomic<bool> done_{false};
};

class ObservedExchange final : public HttpExchange {
 public:
  ObservedExchange(Exchange inner, std::shared_ptr<Observation> observation)
      : inner_(std::move(inner)), observation_(std::move(observation)) {
    inner_->OnClose([observation = observation_] { observation->Done(499); });
  }
  const HttpRequest& request() const override { return inner_->request(); }
  void Send(int status, std::string_view content_type, std::string body, HttpHeaders extra) override {
    EchoId(extra);
    inner_->Send(status, content_type, std::move(body), std::move(extra));
    observation_->Done(status);
  }
  void StartStream(std::string_view content_type, HttpHeaders extra) override {
    EchoId(extra);
    inner_->StartStream(content_type, std::move(extra));
  }
  void Write(std::string chunk) override { inner_->Write(std::move(chunk)); }
  void EndStream() override {
    inner_->EndStream();
    observation_->Done(200);
  }
  void OnClose(std::function<void()> callback) override {
    inner_->OnClose([observation = observation_, callback = std::move(callback)] {
      observation->Done(499);
      if (callback) callback();
    });
  }
  bool closed() const override { return inner_->closed(); }

 private:
  void EchoId(HttpHeaders& extra) const {
    const std::string_view id = FindHeader(request(), "x-request-id");
    if (!id.empty() && id.size() <= kMaxRequestId) extra.emplace_back("x-request-id", id);
  }

  const Exchange inner_;
  const std::shared_ptr<Observation> observation_;
};

}  // namespace

Exchange Observe(const ApiContext& context, Exchange exchange, std::string endpoint) {
  const HttpRequest& request = exchange->request();
  const auto& excluded = context.config.access_log_exclude_prefixes;
  const bool log = context.config.access_log && std::none_of(excluded.begin(), excluded.end(), [&](const std::string& prefix) {
                     return request.path.compare(0, prefix.size(), prefix) == 0;
                   });
  auto observation = std::make_shared<Observation>(context.probe, request, std::move(endpoint), log);
  return std::make_shared<ObservedExchange>(std::move(exchange), std::move(observation));
}

}  // namespace sgl
