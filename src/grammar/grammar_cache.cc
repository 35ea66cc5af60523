// SPDX-License-Identifier: Apache-2.0
#include "grammar/grammar_cache.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>

#include "base/retry.h"

namespace sgl {

GrammarCache::GrammarCache(Compile compile, int threads, size_t max_bytes) : compile_(std::move(compile)), max_bytes_(max_bytes) {
  running_.reserve(static_cast<size_t>(threads));
  for (int i = 0; i < threads; ++i)
    threads_.emplace_back([this] {
      pthread_setname_np(pthread_self(), "grammar");
      Work();
    });
}

GrammarCache::~GrammarCache() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const auto& p : running_) p->stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& t : threads_) t.join();
}

Result<std::shared_ptr<PendingGrammar>> GrammarCache::Get(const GrammarKey& key, std::function<void()> done) {
  std::lock_guard lock(mutex_);
  auto it = table_.find(key);
  if (it != table_.end()) {
    ++stats_.hits;
    const std::shared_ptr<PendingGrammar>& p = it->second;
    if (!p->ready()) {
      ++p->holders_;
      p->waiting_.push_back(std::move(done));
    } else {
      auto& list = p->result().ok() ? used_ : invalid_;
      const auto at = std::find(list.begin(), list.end(), p);
      if (at != list.end()) list.splice(list.begin(), list, at);
    }
    return p;
  }
  if (jobs_.size() >= kMaxWaiting) return Error{Code::kExhausted, "Too many grammars are waiting to be compiled."};
  ++stats_.misses;
  auto p = std::make_shared<PendingGrammar>();
  p->key_ = key;
  p->holders_ = 1;
  p->waiting_.push_back(std::move(done));
  table_.emplace(key, p);
  jobs_.push_back(p);
  wake_.notify_one();
  return p;
}

void GrammarCache::Drop(const std::shared_ptr<PendingGrammar>& pending) {
  std::lock_guard lock(mutex_);
  if (pending->ready() || --pending->holders_ > 0) return;
  pending->stop_ = true;
  const auto it = table_.find(pending->key_);  // the next one who asks starts afresh
  if (it != table_.end() && it->second == pending) table_.erase(it);
  const auto job = std::find(jobs_.begin(), jobs_.end(), pending);
  if (job != jobs_.end()) jobs_.erase(job);
}

void GrammarCache::Flush() {
  std::lock_guard lock(mutex_);
  for (const auto* list : {&used_, &invalid_})
    for (const auto& p : *list) table_.erase(p->key_);
  used_.clear();
  invalid_.clear();
}

GrammarCacheStats GrammarCache::stats() const {
  std::lock_guard lock(mutex_);
  GrammarCacheStats out = stats_;
  out.entries = static_cast<int64_t>(used_.size());
  for (const auto& p : used_) out.bytes += static_cast<int64_t>((*p->result())->bytes());
  return out;
}

void GrammarCache::Evict() {
  size_t bytes = 0;
  for (auto it = used_.begin(); it != used_.end();) {
    bytes += (*(*it)->result())->bytes() + (*it)->key_.text.size();
    if (bytes > max_bytes_ && it != used_.begin()) {
      table_.erase((*it)->key_);
      it = used_.erase(it);
    } else {
      ++it;
    }
  }
  while (invalid_.size() > kMaxInvalid) {
    table_.erase(invalid_.back()->key_);
    invalid_.pop_back();
  }
}

void GrammarCache::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    const std::shared_ptr<PendingGrammar> p = jobs_.front();
    jobs_.pop_front();
    running_.push_back(p);  // there is room, see the constructor
    lock.unlock();
    const auto begin = std::chrono::steady_clock::now();
    Result<std::shared_ptr<const Grammar>> result = Internal("out of memory");
    try {
      result = compile_(p->key_, &p->stop_);
    } catch (const std::exception&) {  // of memory; whoever asks next may have more luck
      p->stop_ = true;
    }
    const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    lock.lock();
    running_.erase(std::find(running_.begin(), running_.end(), p));
    const bool good = result.ok(), wanted = !p->stop_;
    p->result_.emplace(std::move(result));
    p->compile_ms_ = ms;
    p->ready_.store(true, std::memory_order_release);
    ++(good ? stats_.compiled : stats_.failed);
    stats_.compile_ms += ms;
    bool kept = false;
    try {
      if (wanted) {
        (good ? used_ : invalid_).push_front(p);
        kept = true;
        Evict();
      }
    } catch (const std::bad_alloc&) {  // then it is compiled again when somebody asks
    }
    if (!kept) {
      const auto it = table_.find(p->key_);
      if (it != table_.end() && it->second == p) table_.erase(it);
    }
    std::vector<std::function<void()>> waiting = std::move(p->waiting_);
    lock.unlock();
    for (const auto& done : waiting) Retry(done);
    lock.lock();
  }
}

}  // namespace sgl
