// KvCache beside a naive model of it, driven by one stream of choices: what the property test and the fuzzer share. Tests only.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kv/kv_cache.h"

namespace sgl {

// The tree as a map from page-aligned token prefixes to pages. Every operation looks at everything.
class NaiveKv {
 public:
  using Prefix = std::pair<std::string, std::vector<TokenId>>;  // namespace, tokens up to the end of the page
  struct Entry {
    PageId page;
    uint64_t used;
  };

  NaiveKv(int32_t total_pages, int32_t page_size) : free(total_pages), page_size_(page_size) {}

  std::map<Prefix, Entry> tree;
  std::vector<Prefix> locks;
  int32_t free, held = 0;

  Prefix Head(const std::string& key, const std::vector<TokenId>& tokens, size_t pages) const {
    return {key, {tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(pages * static_cast<size_t>(page_size_))}};
  }
  bool locked(const Prefix& entry) const {
    return std::any_of(locks.begin(), locks.end(), [&](const Prefix& lock) { return IsHead(entry, lock); });
  }
  int32_t protected_pages() const {
    return static_cast<int32_t>(std::count_if(tree.begin(), tree.end(), [&](const auto& e) { return locked(e.first); }));
  }
  int32_t evictable_pages() const { return static_cast<int32_t>(tree.size()) - protected_pages(); }

  // The pages of the longest cached prefix of at most max_tokens tokens; marks them as used unless `peek`.
  std::vector<PageId> Match(const std::string& key, const std::vector<TokenId>& tokens, int64_t max_tokens, bool peek) {
    std::vector<PageId> pages;
    const auto limit = static_cast<size_t>(std::min<int64_t>(max_tokens, static_cast<int64_t>(tokens.size())) / page_size_);
    if (!peek) ++tick_;
    for (size_t i = 1; i <= limit; ++i) {
      const auto it = tree.find(Head(key, tokens, i));
      if (it == tree.end()) break;
      pages.push_back(it->second.page);
      if (!peek) it->second.used = tick_;
    }
    return pages;
  }

  void Insert(const std::string& key, const std::vector<TokenId>& tokens, std::vector<PageId>& pages, size_t shared) {
    ++tick_;
    for (size_t i = 0; i < tokens.size() / static_cast<size_t>(page_size_); ++i) {
      const auto [it, is_new] = tree.try_emplace(Head(key, tokens, i + 1), Entry{pages[i], tick_});
      it->second.used = tick_;
      if (i >= shared) --held;
      if (i >= shared && !is_new) ++free;
      pages[i] = it->second.page;
    }
  }

  bool Reserve(int32_t count) {
    if (count > free + evictable_pages()) return false;
    while (count > free) EvictOne();
    free -= count;
    held += count;
    return true;
  }

 private:
  static bool IsHead(const Prefix& head, const Prefix& of) {
    return head.first == of.first && head.second.size() <= of.second.size() &&
           std::equal(head.second.begin(), head.second.end(), of.second.begin());
  }
  void EvictOne() {
    auto victim = tree.end();
    for (auto it = tree.begin(); it != tree.end(); ++it) {
      const auto longer = [&](const auto& e) { return e.first.second.size() > it->first.second.size() && IsHead(it->first, e.first); };
      if (locked(it->first) || std::any_of(tree.begin(), tree.end(), longer)) continue;
      if (victim == tree.end() || it->second.used < victim->second.used) victim = it;
    }
    CHECK(victim != tree.end());
    tree.erase(victim);
    ++free;
  }

  int32_t page_size_;
  uint64_t tick_ = 0;
};

// Sequences that come, grow, share and go. choose(n) gives a number in [0, n).
class KvTwin {
 public:
  KvTwin(int32_t total_pages, int32_t page_size, std::function<uint32_t(uint32_t)> choose)
      : cache_(total_pages, page_size, true), naive_(total_pages, page_size), page_size_(page_size), choose_(std::move(choose)) {}

  void Step() {
    switch (choose_(10)) {
      case 0:
      case 1:
      case 2: Start(); break;
      case 3:
      case 4: Grow(); break;
      case 5: Share(); break;
      case 6:
      case 7: Stop(/*insert=*/true); break;
      case 8: Stop(/*insert=*/false); break;
      default: Rest(); break;
    }
    Compare();
  }

  void StopAll() {
    while (!sequences_.empty()) Stop(/*insert=*/false);
    Compare();
    CHECK(cache_.held_pages() == 0 && cache_.protected_pages() == 0 && cache_.locks() == 0);
  }

 private:
  struct Sequence {
    std::string key;
    std::vector<TokenId> tokens;
    std::vector<PageId> pages;
    int32_t shared = 0;
    RadixNode* node = nullptr;
    NaiveKv::Prefix lock;
  };
  using It = std::list<Sequence>::iterator;

  std::string Key() { return std::string(choose_(4) == 0 ? 1 : 0, 'k'); }
  void AddTokens(std::vector<TokenId>& tokens, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) tokens.push_back(choose_(8) == 0 ? 1 : 0);  // few branches, long common prefixes
  }
  int32_t PagesFor(size_t tokens) const { return (static_cast<int32_t>(tokens) + page_size_ - 1) / page_size_; }
  It Pick() { return std::next(sequences_.begin(), static_cast<ptrdiff_t>(choose_(static_cast<uint32_t>(sequences_.size())))); }

  bool ReserveFor(Sequence& s, size_t tokens) {
    const int32_t missing = PagesFor(tokens) - static_cast<int32_t>(s.pages.size());
    const bool expected = naive_.Reserve(missing);
    const size_t before = s.pages.size();
    CHECK(cache_.Reserve(missing, s.pages) == expected);
    CHECK(s.pages.size() == before + (expected ? static_cast<size_t>(missing) : 0));
    return expected;
  }

  void Lock(Sequence& s, RadixNode* node, size_t pages) {
    cache_.Lock(node);
    s.node = node;
    s.lock = naive_.Head(s.key, s.tokens, pages);
    naive_.locks.push_back(s.lock);
  }
  void Unlock(RadixNode* node, const NaiveKv::Prefix& lock) {
    cache_.Unlock(node);
    naive_.locks.erase(std::find(naive_.locks.begin(), naive_.locks.end(), lock));
  }

  void Start() {
    Sequence s;
    s.key = Key();
    AddTokens(s.tokens, choose_(6 * static_cast<uint32_t>(page_size_)));
    const int64_t limit = choose_(4) == 0 ? choose_(static_cast<uint32_t>(s.tokens.size()) + 1) : static_cast<int64_t>(s.tokens.size());
    const std::vector<PageId> expected = naive_.Match(s.key, s.tokens, limit, /*peek=*/true);
    CHECK(cache_.MatchedTokens(s.tokens, s.key, limit) == static_cast<int64_t>(expected.size()) * page_size_);
    PrefixMatch match = cache_.Match(s.tokens, s.key, limit);
    naive_.Match(s.key, s.tokens, limit, /*peek=*/false);
    CHECK(match.pages == expected && match.tokens == static_cast<int64_t>(expected.size()) * page_size_);
    s.pages = match.pages;
    s.shared = static_cast<int32_t>(match.pages.size());
    Lock(s, match.node, match.pages.size());
    if (ReserveFor(s, s.tokens.size())) {
      sequences_.push_back(std::move(s));
    } else {
      Unlock(s.node, s.lock);
    }
  }

  void Grow() {
    if (sequences_.empty()) return;
    Sequence& s = *Pick();
    std::vector<TokenId> tokens = s.tokens;
    AddTokens(tokens, choose_(2 * static_cast<uint32_t>(page_size_)));
    if (ReserveFor(s, tokens.size())) s.tokens = std::move(tokens);
  }

  RadixNode* Insert(Sequence& s) {
    std::vector<PageId> expected = s.pages;
    naive_.Insert(s.key, s.tokens, expected, static_cast<size_t>(s.shared));
    RadixNode* node = cache_.Insert(s.tokens, s.key, s.pages, s.shared);
    CHECK(s.pages == expected);
    s.shared = static_cast<int32_t>(s.tokens.size()) / page_size_;
    return node;
  }

  void Share() {
    if (sequences_.empty()) return;
    Sequence& s = *Pick();
    RadixNode* before = s.node;
    const NaiveKv::Prefix lock = s.lock;
    RadixNode* after = Insert(s);
    Lock(s, after, static_cast<size_t>(s.shared));
    Unlock(before, lock);
  }

  void Stop(bool insert) {
    if (sequences_.empty()) return;
    const It s = Pick();
    if (insert) Insert(*s);
    const auto rest = std::span<const PageId>(s->pages).subspan(static_cast<size_t>(s->shared));
    cache_.Return(rest);
    naive_.free += static_cast<int32_t>(rest.size());
    naive_.held -= static_cast<int32_t>(rest.size());
    Unlock(s->node, s->lock);
    sequences_.erase(s);
  }

  // A look without a lock, a short loan, now and then a flush.
  void Rest() {
    std::vector<TokenId> tokens;
    AddTokens(tokens, choose_(8 * static_cast<uint32_t>(page_size_)));
    const std::string key = Key();
    CHECK(cache_.Match(tokens, key, 1 << 20).pages == naive_.Match(key, tokens, 1 << 20, /*peek=*/false));
    const auto count = static_cast<int32_t>(choose_(4));
    const auto pages = cache_.Reserve(count);
    CHECK(pages.has_value() == naive_.Reserve(count));
    if (pages) {
      for (PageId page : *pages) CHECK(cache_.is_held(page));
      cache_.Return(*pages);
      naive_.free += count;
      naive_.held -= count;
    }
    if (sequences_.empty() && choose_(4) == 0) {
      cache_.Flush();
      naive_.free += static_cast<int32_t>(naive_.tree.size());
      naive_.tree.clear();
    }
  }

  void Compare() const {
    cache_.CheckInvariants();
    CHECK(cache_.free_pages() == naive_.free && cache_.held_pages() == naive_.held);
    CHECK(cache_.protected_pages() == naive_.protected_pages() && cache_.evictable_pages() == naive_.evictable_pages());
    CHECK(cache_.locks() == static_cast<int64_t>(naive_.locks.size()));
  }

  KvCache cache_;
  NaiveKv naive_;
  int32_t page_size_;
  std::function<uint32_t(uint32_t)> choose_;
  std::list<Sequence> sequences_;
};

}  // namespace sgl
