// SPDX-License-Identifier: Apache-2.0
#include "serve/api.h"

#include <utility>

#include "serve/health.h"
#include "serve/routes.h"

namespace sgl {
namespace {

constexpr std::string_view kWarmUpText = "The capital city of France is";

class WarmUpTaker final : public DeltaTaker {
 public:
  explicit WarmUpTaker(std::function<void(Status)> done) : done_(std::move(done)) {}
  void OnDelta(size_t, TokenDelta delta) override {
    if (!delta.finish) return;
    if (delta.finish->kind == FinishKind::kAbort) return done_(Internal(delta.finish->message));
    done_({});
  }
  void OnRefused(size_t, Error error) override { done_(std::move(error)); }

 private:
  const std::function<void(Status)> done_;
};

}  // namespace

Api::Api(ApiConfig config, Backend& backend, std::shared_ptr<const ChatTemplate> chat_template, Threads threads, uint64_t id_seed)
    : context_(std::move(config), backend, std::move(chat_template), std::move(threads), id_seed) {
  context_.health = std::make_shared<HealthMonitor>(context_);
}

Api::~Api() { context_.outbox->Close(); }

void Api::Handle(Exchange exchange) { Dispatch(context_, exchange); }

void Api::WarmUp(std::function<void(Status)> done) {
  GenerateRequest request;
  request.rid = "WARM_UP_" + context_.ids.Next();
  request.prompt = context_.backend.tokenizer()->Encode(kWarmUpText, true);
  if (request.prompt.empty()) request.prompt = {0};
  request.sampling.max_new_tokens = 8;
  request.sampling.temperature = 0.0;
  request.internal = true;
  auto taker = std::make_shared<WarmUpTaker>([this, done = std::move(done)](Status status) {
    ServerState starting = ServerState::kStarting;  // unless a shutdown was faster
    if (status.ok()) context_.state.compare_exchange_strong(starting, ServerState::kUp);
    done(std::move(status));
  });
  Result<RequestId> id = context_.backend.Submit(
      std::move(request), [taker, outbox = context_.outbox](TokenDelta delta) { outbox->Push(taker, 0, std::move(delta)); });
  if (!id.ok()) context_.outbox->PushRefusal(taker, 0, std::move(id).error());
}

}  // namespace sgl
