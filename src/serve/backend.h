// What the HTTP API needs of an engine, as a face: the tests put a scripted one behind it.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace sgl {

// Of all replicas together: counts are sums; `prefilling` is one list; paused if all are.
EngineStats Sum(const std::vector<EngineStats>& stats);

// Thread: any. The contracts are those of Engine's members of the same names.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual Result<RequestId> Submit(GenerateRequest request, Sink sink) = 0;
  virtual void Abort(RequestId id) = 0;
  virtual void AbortRid(const std::string& rid) = 0;
  virtual void AbortAll() = 0;
  virtual void FlushCache(std::chrono::milliseconds timeout, std::function<void(bool)> done) = 0;
  virtual void Control(ControlRequest request, ControlDone done) = 0;
  virtual bool Drain(std::chrono::milliseconds timeout) = 0;
  virtual const EngineInfo& info() const = 0;
  virtual std::vector<EngineStats> stats() const = 0;          // one per replica
  virtual std::vector<const EngineProbe*> probes() const = 0;  // likewise
  virtual std::optional<int> RankOf(RequestId id) const = 0;   // the replica that has this request; nothing: there is one only
  virtual Profiler& profiler() = 0;
  virtual std::shared_ptr<const Tokenizer> tokenizer() const = 0;
};

}  // namespace sgl
