// Scheduling policies: in which order the waiting requests are looked at when a prefill step is put together.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "kv/kv_cache.h"

namespace sgl {

// One waiting request as a policy sees it.
struct Waiting {
  std::span<const TokenId> tokens;  // prompt, and output if it was retracted
  std::string_view extra_key;
  int64_t match_limit = 0;     // at most that many tokens may come from the cache
  int64_t max_new_tokens = 0;  // in total
  int64_t importance = 0;      // the queue comes sorted by it, largest first
  int64_t running_alike = 0;   // running requests with the same routing key; 0 without a key
  std::string_view routing_key{};
  uint64_t random = 0;  // a new number in every step
};

// queue: by importance, equals by arrival. order: holds 0..n-1 on entry; permuted in place. Looks at the cache, leaves no trace in it.
using PolicyOrder = void (*)(std::span<const Waiting> queue, const KvCache& cache, std::vector<int32_t>& order);

struct Policy {
  std::string_view name;
  PolicyOrder order;     // nullptr: as the queue comes
  bool needs_tree;       // as the queue comes when the prefix cache is off
  size_t longest_queue;  // as the queue comes when more are waiting; 0: no limit
  bool knows_priority;   // may be used with --enable-priority-scheduling
};

// nullptr if there is no policy of that name.
const Policy* FindPolicy(std::string_view name);

}  // namespace sgl
