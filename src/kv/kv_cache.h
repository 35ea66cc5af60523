// Pages, the pool they come from, and the radix tree that remembers computed prefixes. Bookkeeping only: the bytes are KvStore's.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace sgl {

struct RadixNode;  // opaque handle; the tree owns it

// Result of a prefix look-up. The pages belong to the tree; hold a Lock on `node` while using them.
struct PrefixMatch {
  std::vector<PageId> pages;  // whole pages, in order
  RadixNode* node = nullptr;  // deepest node of the match; the root when nothing matched
  int64_t tokens = 0;         // pages.size() * page_size
};

// The same as the tree has it: the nodes from the top down, the last one possibly matched in part only. For ordering, not for keeping:
// the next change of the tree invalidates it.
struct PrefixPath {
  std::vector<const RadixNode*> nodes;
  int64_t tokens = 0;
};

// Thread: engine. Lives as long as Engine.
class KvCache {
 public:
  // use_tree false: --disable-radix-cache: Match finds nothing, Insert gives everything back.
  KvCache(int32_t total_pages, int32_t page_size, bool use_tree);
  ~KvCache();

  int32_t page_size() const;
  int32_t total_pages() const;
  int32_t free_pages() const;
  int32_t evictable_pages() const;  // in the tree and not locked
  int32_t protected_pages() const;  // in the tree and locked
  int32_t held_pages() const;       // given out by Reserve and neither returned nor inserted
  bool uses_tree() const;
  bool is_held(PageId page) const;
  int64_t locks() const;          // Lock calls not yet undone
  int64_t evicted_pages() const;  // since construction; Flush does not count

  // Takes `count` pages, evicting if needed: the last pages of the least recently used unlocked leaf, and only as many as are missing.
  // All or nothing.
  std::optional<std::vector<PageId>> Reserve(int32_t count);
  bool Reserve(int32_t count, std::vector<PageId>& append_to);  // the same without a vector of its own; false: nothing was taken
  void Return(std::span<const PageId> pages);                   // CHECKs that each is held

  // Longest cached prefix in whole pages, at most max_tokens tokens, in namespace extra_key. Splits nodes, refreshes their use time.
  PrefixMatch Match(std::span<const TokenId> tokens, std::string_view extra_key, int64_t max_tokens);
  // The length of that match, without a trace in the tree.
  int64_t MatchedTokens(std::span<const TokenId> tokens, std::string_view extra_key, int64_t max_tokens) const;
  PrefixPath MatchedPath(std::span<const TokenId> tokens, std::string_view extra_key, int64_t max_tokens) const;
  void Lock(RadixNode* node);  // protects the path from the root to node from eviction
  void Unlock(RadixNode* node);
  // How many protected pages would become evictable if one Lock of `node`, which must be locked, were undone.
  int32_t PagesFreedByUnlock(const RadixNode* node) const;

  // Gives pages of a computed sequence to the tree. tokens: the sequence, cut to whole pages by the callee; pages: its page table.
  // The first shared_pages of `pages` already belong to the tree (from Match). Pages that the tree already has for the same tokens are
  // duplicates: they are returned to the pool, and `pages` is rewritten to the tree's. Pages beyond the last whole page stay held by
  // the caller. Returns the deepest node (not locked yet). Without a tree the pages of whole pages go back to the pool.
  RadixNode* Insert(std::span<const TokenId> tokens, std::string_view extra_key, std::span<PageId> pages, int32_t shared_pages);

  // Drops the whole tree. Precondition: nothing locked.
  void Flush();

  // free + evictable + protected + held == total, every page counted once, locks consistent, children sorted by their first page...
  void CheckInvariants() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sgl
