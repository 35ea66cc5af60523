// SPDX-License-Identifier: Apache-2.0
#include "sched/policies.h"

#include <algorithm>
#include <unordered_map>

#include "sched/scheduler.h"

namespace sgl {
namespace {

// Sorts `order` by less(a, b) on entries of the queue; equals keep their places.
template <class Less>
void SortBy(std::span<const Waiting> queue, std::vector<int32_t>& order, Less less) {
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return less(queue[static_cast<size_t>(a)], queue[static_cast<size_t>(b)]); });
}

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

// Depth first through the tree, the child below which more requests wait first; requests of a node come after those below it. So
// requests that share a prefix run together, while it is in the cache.
void HeavySubtreesFirst(std::span<const Waiting> queue, const KvCache& cache, std::vector<int32_t>& order) {
  struct Weight {
    int64_t requests = 0;
    size_t first = 0;  // the first request in the queue that came through: breaks ties
  };
  std::vector<PrefixPath> paths;
  std::unordered_map<const RadixNode*, Weight> weights;
  for (size_t i = 0; i < queue.size(); ++i) {
    paths.push_back(cache.MatchedPath(queue[i].tokens, queue[i].extra_key, queue[i].match_limit));
    for (const RadixNode* node : paths.back().nodes) {
      Weight& weight = weights.try_emplace(node, Weight{0, i}).first->second;
      ++weight.requests;
    }
  }
  const auto comes_before = [&](int32_t a, int32_t b) {
    const PrefixPath &left = paths[static_cast<size_t>(a)], &right = paths[static_cast<size_t>(b)];
    const auto [l, r] = std::mismatch(left.nodes.begin(), left.nodes.end(), right.nodes.begin(), right.nodes.end());
    if (l == left.nodes.end() || r == right.nodes.end()) return left.tokens > right.tokens;  // one is above the other
    const Weight &heavy = weights.at(*l), &light = weights.at(*r);
    return heavy.requests != light.requests ? heavy.requests > light.requests : heavy.first < light.first;
  };
  std::stable_sort(order.begin(), order.end(), comes_before);
}

// Largest max_new_tokens first; priorities come before it.
void LongestOutputFirst(std::span<const Waiting> queue, const KvCache&, std::vector<int32_t>& order) {
  SortBy(queue, order, [](const Waiting& a, const Waiting& b) {
    return a.importance != b.importance ? a.importance > b.importance : a.max_new_tokens > b.max_new_tokens;
  });
}

void Shuffled(std::span<const Waiting> queue, const KvCache&, std::vector<int32_t>& order) {
  SortBy(queue, order, [](const Waiting& a, const Waiting& b) { return a.random < b.random; });
}

// Requests whose routing key most of the running ones have come first, key by key; those whose key nobody running has, last.
void MostRunningKeyFirst(std::span<const Waiting> queue, const KvCache&, std::vector<int32_t>& order) {
  SortBy(queue, order, [](const Waiting& a, const Waiting& b) {
    if (a.running_alike != b.running_alike) return a.running_alike > b.running_alike;
    return a.running_alike > 0 && a.routing_key < b.routing_key;
  });
}

constexpr Policy kPolicies[] = {
    {"fcfs", nullptr, false, 0, true},
    {"lpm", LongestPrefixFirst, true, 128, false},
    {"dfs-weight", HeavySubtreesFirst, true, 0, false},
    {"lof", LongestOutputFirst, false, 0, true},
    {"random", Shuffled, false, 0, false},
    {"routing-key", MostRunningKeyFirst, false, 0, false},
};

}  // namespace

const Policy* FindPolicy(std::string_view name) {
  for (const Policy& policy : kPolicies) {
    if (policy.name == name) return &policy;
  }
  return nullptr;
}

bool IsSchedulePolicy(std::string_view name) { return FindPolicy(name) != nullptr; }
bool PolicyKnowsPriority(std::string_view name) {
  const Policy* policy = FindPolicy(name);
  return policy != nullptr && policy->knows_priority;
}

}  // namespace sgl
