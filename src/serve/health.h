// Whether the engine lives: any token it produces proves it; when it is idle a request of one token makes it produce one.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "serve/context.h"

namespace sgl {

// Thread: http. Callers that ask while a round is running share it, so a crowd of probes costs one.
class HealthMonitor : public DeltaTaker, public std::enable_shared_from_this<HealthMonitor> {
 public:
  explicit HealthMonitor(ApiContext& context) : context_(context) {}

  // Answers 200 as soon as the engine has produced something, 503 after health_timeout.
  void Ask(const Exchange& exchange);

  void OnDelta(size_t round, TokenDelta delta) override;
  void OnRefused(size_t round, Error error) override;

 private:
  void Poll(size_t round);
  void SubmitProbe();
  void Answer(bool alive);

  ApiContext& context_;
  size_t round_ = 0;  // counts up when a round ends: late messages of an older one are ignored
  std::vector<Exchange> waiting_;
  int64_t produced_before_ = 0;
  std::chrono::milliseconds waited_{0};
  bool probed_ = false;
  std::optional<RequestId> probe_;  // not finished yet, as far as we know
};

}  // namespace sgl
