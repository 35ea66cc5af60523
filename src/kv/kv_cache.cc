// SPDX-License-Identifier: Apache-2.0
#include "kv/kv_cache.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/check.h"

namespace sgl {
namespace {

// Orders siblings by their first page of tokens; siblings always differ in it.
struct ByFirstPage {
  using is_transparent = void;
  using Node = std::unique_ptr<RadixNode>;
  size_t page_size;

  std::span<const TokenId> FirstPage(std::span<const TokenId> tokens) const { return tokens.first(page_size); }
  std::span<const TokenId> FirstPage(const Node& node) const;
  template <class A, class B>
  bool operator()(const A& a, const B& b) const {
    const auto left = FirstPage(a), right = FirstPage(b);
    return std::lexicographical_compare(left.begin(), left.end(), right.begin(), right.end());
  }
};

enum class PageState : uint8_t { kFree, kHeld, kTree };

}  // namespace

// The root has neither tokens nor a parent. Below it is one node without tokens per namespace; they exist while they have children.
struct RadixNode {
  explicit RadixNode(int32_t page_size) : children(ByFirstPage{static_cast<size_t>(page_size)}) {}

  RadixNode* parent = nullptr;
  std::vector<TokenId> tokens;  // pages.size() * page_size
  std::vector<PageId> pages;
  std::set<std::unique_ptr<RadixNode>, ByFirstPage> children;
  int64_t locks = 0;                   // Lock calls on this node and below
  uint64_t used = 0;                   // tick of the last Match or Insert that came through
  const std::string* space = nullptr;  // of a namespace node: its key in `spaces`
};

namespace {
std::span<const TokenId> ByFirstPage::FirstPage(const Node& node) const { return FirstPage(std::span<const TokenId>(node->tokens)); }
}  // namespace

struct KvCache::Impl {
  Impl(int32_t total_pages, int32_t tokens_per_page, bool tree)
      : page_size(tokens_per_page),
        total(total_pages),
        use_tree(tree),
        state(static_cast<size_t>(total_pages), PageState::kFree),
        root(tokens_per_page) {
    free.reserve(state.size());
    for (int32_t i = total_pages; i-- > 0;) free.push_back(PageId{i});
  }
  ~Impl() { Clear(); }

  const int32_t page_size, total;
  const bool use_tree;
  std::vector<PageId> free;  // a stack: the page freed last is still warm
  std::vector<PageState> state;
  RadixNode root;
  std::map<std::string, std::unique_ptr<RadixNode>, std::less<>> spaces;
  // Unlocked leaves by `used`. One tick marks nodes of one path only, and a path has one leaf: the key is unique.
  std::map<uint64_t, RadixNode*> leaves;
  int32_t evictable = 0, locked = 0, held = 0;
  int64_t evicted = 0;
  uint64_t tick = 0;

  PageState& StateOf(PageId page) {
    CHECK(Index(page) >= 0 && Index(page) < total);
    return state[static_cast<size_t>(Index(page))];
  }
  void Free(PageId page, PageState from) {
    CHECK(StateOf(page) == from && "page given back by somebody who does not own it");
    StateOf(page) = PageState::kFree;
    free.push_back(page);
  }

  size_t TokensIn(size_t pages) const { return pages * static_cast<size_t>(page_size); }
  static bool IsLeaf(const RadixNode& node) { return node.children.empty() && !node.pages.empty(); }
  void AddLeaf(RadixNode* node) { CHECK(leaves.emplace(node->used, node).second); }
  void RemoveLeaf(RadixNode* node) { CHECK(leaves.erase(node->used) == 1); }

  void Touch(RadixNode* node) {
    const bool listed = node->locks == 0 && IsLeaf(*node);
    if (listed) RemoveLeaf(node);
    node->used = tick;
    if (listed) AddLeaf(node);
  }

  // Whole pages that `node` has in common with the head of `tokens`.
  size_t CommonPages(const RadixNode& node, std::span<const TokenId> tokens) const {
    const size_t limit = std::min(node.tokens.size(), tokens.size());
    const auto end = std::mismatch(node.tokens.begin(), node.tokens.begin() + static_cast<ptrdiff_t>(limit), tokens.begin()).first;
    return static_cast<size_t>(end - node.tokens.begin()) / static_cast<size_t>(page_size);
  }

  RadixNode* Split(RadixNode* node, size_t head_pages);
  std::pair<RadixNode*, size_t> Descend(std::span<const TokenId> tokens, RadixNode* from);
  // Walks like Match without changing anything; visit(node) from the top down. Returns the pages matched.
  template <class Visit>
  size_t Look(std::span<const TokenId> tokens, std::string_view extra_key, int64_t max_tokens, Visit visit) const;
  void RemoveNode(RadixNode* leaf);
  void Evict(size_t count);
  void Clear();
};

// Gives the first `head_pages` of `node` to a new parent. `node` stays the deeper one, so that handles to it keep meaning the whole path.
RadixNode* KvCache::Impl::Split(RadixNode* node, size_t head_pages) {
  RadixNode* above = node->parent;
  auto slot = above->children.extract(above->children.find(std::span<const TokenId>(node->tokens)));
  const auto token_cut = node->tokens.begin() + static_cast<ptrdiff_t>(TokensIn(head_pages));
  const auto page_cut = node->pages.begin() + static_cast<ptrdiff_t>(head_pages);
  auto head = std::make_unique<RadixNode>(page_size);
  head->parent = above;
  head->tokens.assign(node->tokens.begin(), token_cut);
  head->pages.assign(node->pages.begin(), page_cut);
  head->locks = node->locks;
  head->used = node->used;
  node->tokens.erase(node->tokens.begin(), token_cut);
  node->pages.erase(node->pages.begin(), page_cut);
  node->parent = head.get();
  head->children.insert(std::move(slot));
  return above->children.insert(std::move(head)).first->get();
}

// Walks down along `tokens` (whole pages), splitting where they part inside a node, and marks the path as used now.
// Returns the deepest node reached and the pages matched.
std::pair<RadixNode*, size_t> KvCache::Impl::Descend(std::span<const TokenId> tokens, RadixNode* from) {
  RadixNode* node = from;
  size_t matched = 0;
  Touch(node);
  while (tokens.size() > TokensIn(matched)) {
    const auto rest = tokens.subspan(TokensIn(matched));
    const auto it = node->children.find(rest);
    if (it == node->children.end()) break;
    RadixNode* child = it->get();
    const size_t common = CommonPages(*child, rest);
    const bool inside = common < child->pages.size();
    if (inside) child = Split(child, common);
    Touch(child);
    node = child;
    matched += common;
    if (inside) break;
  }
  return {node, matched};
}

// Unlinks a leaf whose pages are already gone; its parent may become a leaf, an empty namespace disappears.
void KvCache::Impl::RemoveNode(RadixNode* leaf) {
  RadixNode* parent = leaf->parent;
  parent->children.erase(parent->children.find(std::span<const TokenId>(leaf->tokens)));
  if (!parent->children.empty()) return;
  if (parent->space != nullptr) {
    spaces.erase(spaces.find(*parent->space));
  } else if (parent->locks == 0) {
    AddLeaf(parent);
  }
}

void KvCache::Impl::Evict(size_t count) {
  while (count > 0) {
    CHECK(!leaves.empty());
    RadixNode* leaf = leaves.begin()->second;
    const size_t taken = std::min(count, leaf->pages.size());
    for (size_t i = 0; i < taken; ++i) {
      Free(leaf->pages.back(), PageState::kTree);
      leaf->pages.pop_back();
    }
    evictable -= static_cast<int32_t>(taken);
    evicted += static_cast<int64_t>(taken);
    count -= taken;
    if (leaf->pages.empty()) {
      RemoveLeaf(leaf);
      RemoveNode(leaf);
    } else {
      leaf->tokens.resize(TokensIn(leaf->pages.size()));
    }
  }
}

// Without recursion, because a path may be as deep as the pool has pages; without allocation, because destructors call it.
void KvCache::Impl::Clear() {
  for (auto& [name, space] : spaces) {
    RadixNode* node = space.get();
    while (node != space.get() || !node->children.empty()) {
      if (!node->children.empty()) {
        node = node->children.begin()->get();
        continue;
      }
      for (PageId page : node->pages) Free(page, PageState::kTree);
      node = node->parent;
      node->children.erase(node->children.begin());
    }
  }
  spaces.clear();
  leaves.clear();
  evictable = 0;
}

KvCache::KvCache(int32_t total_pages, int32_t page_size, bool use_tree) {
  CHECK(total_pages >= 0 && page_size > 0);
  impl_ = std::make_unique<Impl>(total_pages, page_size, use_tree);
}
KvCache::~KvCache() = default;

int32_t KvCache::page_size() const { return impl_->page_size; }
int32_t KvCache::total_pages() const { return impl_->total; }
int32_t KvCache::free_pages() const { return static_cast<int32_t>(impl_->free.size()); }
int32_t KvCache::evictable_pages() const { return impl_->evictable; }
int32_t KvCache::protected_pages() const { return impl_->locked; }
int32_t KvCache::held_pages() const { return impl_->held; }
bool KvCache::uses_tree() const { return impl_->use_tree; }
bool KvCache::is_held(PageId page) const { return impl_->StateOf(page) == PageState::kHeld; }
int64_t KvCache::locks() const { return impl_->root.locks; }
int64_t KvCache::evicted_pages() const { return impl_->evicted; }

std::optional<std::vector<PageId>> KvCache::Reserve(int32_t count) {
  std::vector<PageId> pages;
  if (!Reserve(count, pages)) return std::nullopt;
  return pages;
}

bool KvCache::Reserve(int32_t count, std::vector<PageId>& append_to) {
  CHECK(count >= 0);
  Impl& m = *impl_;
  const size_t wanted = static_cast<size_t>(count);
  if (wanted > m.free.size() + static_cast<size_t>(m.evictable)) return false;
  if (wanted > m.free.size()) m.Evict(wanted - m.free.size());
  for (size_t i = 0; i < wanted; ++i) {
    const PageId page = m.free.back();
    m.free.pop_back();
    m.StateOf(page) = PageState::kHeld;
    append_to.push_back(page);
  }
  m.held += count;
  return true;
}

void KvCache::Return(std::span<const PageId> pages) {
  for (PageId page : pages) impl_->Free(page, PageState::kHeld);
  impl_->held -= static_cast<int32_t>(pages.size());
}

PrefixMatch KvCache::Match(std::span<const TokenId> tokens, std::string_view extra_key, int64_t max_tokens) {
  Impl& m = *impl_;
  PrefixMatch match;
  match.node = &m.root;
  const size_t limit = std::min(tokens.size(), static_cast<size_t>(std::max<int64_t>(max_tokens, 0)));
  const auto space = m.spaces.find(extra_key);
  if (space == m.spaces.end()) return match;
  ++m.tick;
  const auto [node, matched] = m.Descend(tokens.first(limit - limit % static_cast<size_t>(m.page_size)), space->second.get());
  if (matched == 0) return match;
  match.node = node;
  match.tokens = static_cast<int64_t>(m.TokensIn(matched));
  match.pages.resize(matched);
  auto end = match.pages.end();
  for (const RadixNode* n = node; n != nullptr; n = n->parent) end = std::copy_backward(n->pages.begin(), n->pages.end(), end);
  return match;
}

template <class Visit>
size_t KvCache::Impl::Look(std::span<const TokenId> tokens, std::string_view extra_key, int64_t max_tokens, Visit visit) const {
  const auto space = spaces.find(extra_key);
  if (space == spaces.end()) return 0;
  const size_t limit = std::min(tokens.size(), static_cast<size_t>(std::max<int64_t>(max_tokens, 0)));
  tokens = tokens.first(limit - limit % static_cast<size_t>(page_size));
  const RadixNode* node = space->second.get();
  size_t matched = 0;
  while (!tokens.empty()) {
    const auto it = node->children.find(tokens);
    if (it == node->children.end()) break;
    node = it->get();
    visit(node);
    const size_t common = CommonPages(*node, tokens);
    matched += common;
    if (common < node->pages.size()) break;
    tokens = tokens.subspan(TokensIn(common));
  }
  return matched;
}

int64_t KvCache::MatchedTokens(std::span<const TokenId> tokens, std::string_view extra_key, int64_t max_tokens) const {
  return static_cast<int64_t>(impl_->TokensIn(impl_->Look(tokens, extra_key, max_tokens, [](const RadixNode*) {})));
}

PrefixPath KvCache::MatchedPath(std::span<const TokenId> tokens, std::string_view extra_key, int64_t max_tokens) const {
  PrefixPath path;
  const size_t pages = impl_->Look(tokens, extra_key, max_tokens, [&](const RadixNode* node) { path.nodes.push_back(node); });
  path.tokens = static_cast<int64_t>(impl_->TokensIn(pages));
  return path;
}

int32_t KvCache::PagesFreedByUnlock(const RadixNode* node) const {
  int32_t pages = 0;
  for (; node != nullptr && node->locks == 1; node = node->parent) pages += static_cast<int32_t>(node->pages.size());
  return pages;
}

void KvCache::Lock(RadixNode* node) {
  Impl& m = *impl_;
  for (; node != nullptr; node = node->parent) {
    if (node->locks++ > 0) continue;
    if (Impl::IsLeaf(*node)) m.RemoveLeaf(node);
    m.evictable -= static_cast<int32_t>(node->pages.size());
    m.locked += static_cast<int32_t>(node->pages.size());
  }
}

void KvCache::Unlock(RadixNode* node) {
  Impl& m = *impl_;
  for (; node != nullptr; node = node->parent) {
    CHECK(node->locks > 0 && "unlocked more often than locked");
    if (--node->locks > 0) continue;
    if (Impl::IsLeaf(*node)) m.AddLeaf(node);
    m.evictable += static_cast<int32_t>(node->pages.size());
    m.locked -= static_cast<int32_t>(node->pages.size());
  }
}

RadixNode* KvCache::Insert(std::span<const TokenId> tokens, std::string_view extra_key, std::span<PageId> pages, int32_t shared_pages) {
  Impl& m = *impl_;
  const size_t whole = tokens.size() / static_cast<size_t>(m.page_size), shared = static_cast<size_t>(shared_pages);
  CHECK(shared_pages >= 0 && shared <= whole && whole <= pages.size());
  tokens = tokens.first(m.TokensIn(whole));
  pages = pages.first(whole);
  if (whole == 0) return &m.root;
  if (!m.use_tree) {
    CHECK(shared == 0);
    Return(pages);
    return &m.root;
  }

  auto space = m.spaces.find(extra_key);
  if (space == m.spaces.end()) {
    space = m.spaces.emplace(std::string(extra_key), std::make_unique<RadixNode>(m.page_size)).first;
    space->second->parent = &m.root;
    space->second->space = &space->first;
  }
  ++m.tick;
  const auto [node, matched] = m.Descend(tokens, space->second.get());
  CHECK(matched >= shared && "shared pages are no longer in the tree");

  size_t end = matched;
  for (const RadixNode* n = node; n != nullptr; n = n->parent) {
    end -= n->pages.size();
    for (size_t i = 0; i < n->pages.size(); ++i) {
      PageId& page = pages[end + i];
      if (end + i < shared) {
        CHECK(page == n->pages[i] && "a shared page is not the tree's");
      } else {
        m.Free(std::exchange(page, n->pages[i]), PageState::kHeld);
        --m.held;
      }
    }
  }
  if (matched == whole) return node;

  auto leaf = std::make_unique<RadixNode>(m.page_size);
  leaf->parent = node;
  leaf->used = m.tick;
  leaf->tokens.assign(tokens.begin() + static_cast<ptrdiff_t>(m.TokensIn(matched)), tokens.end());
  leaf->pages.assign(pages.begin() + static_cast<ptrdiff_t>(matched), pages.end());
  for (PageId page : leaf->pages) {
    CHECK(m.StateOf(page) == PageState::kHeld && "inserted a page that is not held");
    m.StateOf(page) = PageState::kTree;
  }
  m.held -= static_cast<int32_t>(leaf->pages.size());
  m.evictable += static_cast<int32_t>(leaf->pages.size());
  if (node->locks == 0 && Impl::IsLeaf(*node)) m.RemoveLeaf(node);
  const auto [it, inserted] = node->children.insert(std::move(leaf));
  CHECK(inserted);
  m.AddLeaf(it->get());
  return it->get();
}

void KvCache::Flush() {
  CHECK(impl_->root.locks == 0 && "flushed while in use");
  impl_->Clear();
}

void KvCache::CheckInvariants() const {
  const Impl& m = *impl_;
  std::vector<bool> seen(m.state.size());
  const auto see = [&](PageId page, PageState expected) {
    const size_t i = static_cast<size_t>(Index(page));
    CHECK(i < seen.size() && !seen[i] && "page counted twice");
    CHECK(m.state[i] == expected && "page in the wrong state");
    seen[i] = true;
  };
  for (PageId page : m.free) see(page, PageState::kFree);

  int32_t evictable = 0, locked = 0;
  size_t leaf_count = 0;
  std::vector<const RadixNode*> left;
  int64_t space_locks = 0;
  for (const auto& [name, space] : m.spaces) {
    CHECK(space->parent == &m.root && space->space == &name && space->pages.empty() && !space->children.empty() && "namespace node");
    space_locks += space->locks;
    left.push_back(space.get());
  }
  CHECK(space_locks <= m.root.locks && m.root.pages.empty() && m.root.children.empty() && "root");
  while (!left.empty()) {
    const RadixNode& node = *left.back();
    left.pop_back();
    CHECK(node.tokens.size() == m.TokensIn(node.pages.size()) && "tokens and pages of a node");
    for (PageId page : node.pages) see(page, PageState::kTree);
    (node.locks > 0 ? locked : evictable) += static_cast<int32_t>(node.pages.size());
    const auto entry = m.leaves.find(node.used);
    const bool listed = entry != m.leaves.end() && entry->second == &node;
    CHECK(listed == (node.locks == 0 && Impl::IsLeaf(node)) && "list of evictable leaves");
    leaf_count += listed ? 1 : 0;
    int64_t child_locks = 0;
    const RadixNode* before = nullptr;
    for (const auto& child : node.children) {
      CHECK(child->parent == &node && !child->pages.empty() && child->used <= node.used && "child");
      const auto first = [&](const RadixNode* n) { return std::span<const TokenId>(n->tokens).first(static_cast<size_t>(m.page_size)); };
      CHECK((before == nullptr || std::ranges::lexicographical_compare(first(before), first(child.get()))) && "siblings out of order");
      before = child.get();
      child_locks += child->locks;
      left.push_back(child.get());
    }
    CHECK(child_locks <= node.locks && "a locked node below an unlocked one");
  }
  CHECK(leaf_count == m.leaves.size() && "list of evictable leaves");
  CHECK(evictable == m.evictable && locked == m.locked && "page counters of the tree");
  const auto held = std::count(m.state.begin(), m.state.end(), PageState::kHeld);
  CHECK(held == m.held && "counter of held pages");
  CHECK(static_cast<int64_t>(m.free.size()) + evictable + locked + held == m.total && "free + tree + held == total");
}

}  // namespace sgl
