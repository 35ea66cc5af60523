// The API without its sockets: a context and the routes. ApiServer puts it behind HttpServer, tests behind exchanges in memory.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>

#include "serve/context.h"

namespace sgl {

class Api {
 public:
  Api(ApiConfig config, Backend& backend, std::shared_ptr<const ChatTemplate> chat_template, Threads threads, uint64_t id_seed);
  ~Api();  // nothing of the API runs any more; what the engine still says is dropped

  void Handle(Exchange exchange);  // Thread: http

  // Runs the warm-up: a short greedy request. `done` is called once, on the http thread; with no error the state is kUp.
  void WarmUp(std::function<void(Status)> done);

  ApiContext& context() { return context_; }

 private:
  ApiContext context_;
};

}  // namespace sgl
