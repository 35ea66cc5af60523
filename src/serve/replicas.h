// The engines behind the API: one, or several data-parallel replicas that share their weights. A request goes to one of them; an operation
// on the engine goes to all, and they answer with one voice.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "serve/backend.h"

namespace sgl {

// Who gets a request that does not say: everybody in turn; the one with the fewest living requests; the one whose living requests have the
// fewest tokens (prompts and output so far), of equals the one with the fewest requests.
enum class LoadBalance { kRoundRobin, kTotalRequests, kTotalTokens };

// --load-balance-method: auto (round_robin), round_robin, total_requests and its older name shortest_queue, total_tokens.
Result<LoadBalance> ParseLoadBalance(std::string_view name);
// loads: of each replica; turn: counts up. Pure.
size_t ChooseReplica(LoadBalance method, std::span<const EngineLoad> loads, size_t turn);

// Thread: any.
class Replicas final : public Backend {
 public:
  // At least one engine, made by Engine::CreateReplicas.
  Replicas(std::vector<std::unique_ptr<Engine>> engines, LoadBalance method);

  // request.dp_rank chooses the replica. A session lives on one replica, so its requests all go there. Errors besides the engine's:
  // kInvalidArgument, a rank that does not exist, or another one than the session's.
  Result<RequestId> Submit(GenerateRequest request, Sink sink) override;
  void Abort(RequestId id) override;
  void AbortRid(const std::string& rid) override;
  void AbortAll() override;
  void FlushCache(std::chrono::milliseconds timeout, std::function<void(bool)> done) override;  // true: everywhere
  void Control(ControlRequest request, ControlDone done) override;  // all must succeed; else the answer is what the first one says
  bool Drain(std::chrono::milliseconds timeout) override;
  const EngineInfo& info() const override { return engines_.front()->info(); }
  std::vector<EngineStats> stats() const override;
  std::vector<const EngineProbe*> probes() const override;
  std::optional<int> RankOf(RequestId id) const override {
    return size() > 1 ? std::optional<int>(Engine::RankOf(id, size())) : std::nullopt;
  }
  Profiler& profiler() override { return engines_.front()->profiler(); }
  std::shared_ptr<const Tokenizer> tokenizer() const override { return engines_.front()->tokenizer(); }

  int size() const { return static_cast<int>(engines_.size()); }
  Engine& engine(int rank) const { return *engines_[static_cast<size_t>(rank)]; }
  const std::string& chat_template() const { return engines_.front()->chat_template(); }

 private:
  size_t HomeOf(const std::string& session_id) const;
  Result<size_t> Choose(const GenerateRequest& request);

  const std::vector<std::unique_ptr<Engine>> engines_;
  const LoadBalance method_;
  std::atomic<size_t> turn_{0};
  std::mutex order_mutex_;  // all engines see operations in the same order; held while they are posted
};

}  // namespace sgl
