// SPDX-License-Identifier: Apache-2.0
#include "sched/policies.h"

#include <algorithm>

#include "sched/scheduler.h"

namespace sgl {
namespace {

// Longest cached prefix first. Of several prompts that start alike but are not cached yet, only the first keeps its place: the others
// go to the end of this round, and find the prefix in the cache in a later one.
// Source: SGLang's lpm policy, whose two thresholds (IN_BATCH_PREFIX_CACHING_*) are both 32. It looks earlier prompts up in a second
// radix tree; a match of at least 32 tokens exists exactly when the first 32 agree, so comparing those is enough.
void LongestPrefixFirst(std::span<const Waiting> queue, const KvCache& cache, std::vector<int32_t>& order) {
  constexpr int64_t kCached = 32;
  constexpr size_t kAlike = 32;
  std::vector<int64_t> rank(queue.size());  // cached tokens; -1: to the end
  std::vector<const Waiting*> firsts;
  for (size_t i = 0; i < queue.size(); ++i) {
    const Waiting& w = queue[i];
    rank[i] = cache.MatchedTokens(w.tokens, w.extra_key, w.match_limit);
    if (rank[i] > kCached || w.tokens.size() < kAlike) continue;
    const auto alike = [&](const Waiting* first) {
      return first->extra_key == w.extra_key && std::equal(w.tokens.begin(), w.tokens.begin() + kAlike, first->tokens.begin());
    };
    if (std::any_of(firsts.begin(), firsts.end(), alike)) {
      rank[i] = -1;
    } else {
      firsts.push_back(&w);
    }
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return rank[static_cast<size_t>(a)] > rank[static_cast<size_t>(b)]; });
}

// Largest max_new_tokens first.
void LongestOutputFirst(std::span<const Waiting> queue, const KvCache&, std::vector<int32_t>& order) {
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return queue[static_cast<size_t>(a)].max_new_tokens > queue[static_cast<size_t>(b)].max_new_tokens;
  });
}

constexpr Policy kPolicies[] = {
    {"fcfs", nullptr, false, 0},
    {"lpm", LongestPrefixFirst, true, 128},
    {"lof", LongestOutputFirst, false, 0},
};

}  // namespace

const Policy* FindPolicy(std::string_view name) {
  for (const Policy& policy : kPolicies) {
    if (policy.name == name) return &policy;
  }
  return nullptr;
}

bool IsSchedulePolicy(std::string_view name) { return FindPolicy(name) != nullptr; }

}  // namespace sgl
