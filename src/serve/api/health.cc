// /health, /health_generate, /ping.
// SPDX-License-Identifier: Apache-2.0
#include "serve/health.h"

#include "serve/api/handlers.h"
#include "serve/reply.h"

namespace sgl {
namespace {

bool Serving(const ApiContext& context) {
  const ServerState state = context.state;
  return state == ServerState::kUp || state == ServerState::kUnhealthy;  // an unhealthy one is asked again: it may have recovered
}

}  // namespace

void HandlePing(ApiContext&, const Exchange& exchange) { SendEmpty(*exchange, 200); }

void HandleHealth(ApiContext& context, const Exchange& exchange) {
  if (context.config.health_generates) return HandleHealthGenerate(context, exchange);
  SendEmpty(*exchange, Serving(context) ? 200 : 503);
}

void HandleHealthGenerate(ApiContext& context, const Exchange& exchange) {
  if (!Serving(context)) return SendEmpty(*exchange, 503);
  context.health->Ask(exchange);
}

}  // namespace sgl
