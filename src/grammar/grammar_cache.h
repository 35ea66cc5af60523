// Compiled grammars by key: one compilation for any number of requests that ask for the same, on threads of its own.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "grammar/grammar.h"

namespace sgl {

// A compilation that may still run. Thread: any.
class PendingGrammar {
 public:
  bool ready() const { return ready_.load(std::memory_order_acquire); }
  // Precondition: ready().
  const Result<std::shared_ptr<const Grammar>>& result() const { return *result_; }
  double compile_ms() const { return compile_ms_; }

 private:
  friend class GrammarCache;
  GrammarKey key_;
  std::atomic<bool> ready_{false}, stop_{false};
  std::optional<Result<std::shared_ptr<const Grammar>>> result_;
  double compile_ms_ = 0;
  std::vector<std::function<void()>> waiting_;  // guarded by the cache's mutex
  int holders_ = 0;                             // guarded by the cache's mutex
};

struct GrammarCacheStats {
  int64_t hits = 0, misses = 0, compiled = 0, failed = 0;
  double compile_ms = 0;
  int64_t entries = 0, bytes = 0;
};

// Thread: any. Lives as long as the Engine.
class GrammarCache {
 public:
  using Compile = std::function<Result<std::shared_ptr<const Grammar>>(const GrammarKey&, const std::atomic<bool>* stop)>;
  static constexpr size_t kMaxBytes = size_t{256} << 20;
  static constexpr size_t kMaxInvalid = 256;
  static constexpr size_t kMaxWaiting = 4096;  // compilations

  GrammarCache(Compile compile, int threads, size_t max_bytes = kMaxBytes);
  ~GrammarCache();  // cancels what runs
  GrammarCache(const GrammarCache&) = delete;
  GrammarCache& operator=(const GrammarCache&) = delete;

  // Known (also as invalid): ready at once. Else a job starts, or one that runs is joined; `done` is called on a compile thread when it is
  // ready, and never otherwise. Error: too many are waiting.
  Result<std::shared_ptr<PendingGrammar>> Get(const GrammarKey& key, std::function<void()> done);
  // The caller no longer waits: a job that nobody waits for is cancelled.
  void Drop(const std::shared_ptr<PendingGrammar>& pending);
  void Flush();  // forgets what is compiled; requests that run keep theirs
  GrammarCacheStats stats() const;

 private:
  struct Hash {
    size_t operator()(const GrammarKey& k) const { return std::hash<std::string>()(k.text) * 31 + static_cast<size_t>(k.kind); }
  };
  void Work();
  void Evict();  // under mutex_

  const Compile compile_;
  const size_t max_bytes_;
  mutable std::mutex mutex_;  // a table that several threads look things up in; held for look-ups only
  std::condition_variable wake_;
  bool stopping_ = false;
  std::unordered_map<GrammarKey, std::shared_ptr<PendingGrammar>, Hash> table_;
  std::list<std::shared_ptr<PendingGrammar>> used_;  // latest first; compiled ones
  std::list<std::shared_ptr<PendingGrammar>> invalid_;
  std::deque<std::shared_ptr<PendingGrammar>> jobs_;
  std::vector<std::shared_ptr<PendingGrammar>> running_;
  GrammarCacheStats stats_;
  std::vector<std::thread> threads_;
};

}  // namespace sgl
