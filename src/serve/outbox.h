// What the engine says, carried to the http thread in order: one task there per engine step, not one per token.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <fmt/core.h>

#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/retry.h"
#include "engine/engine.h"

namespace sgl {

// Takes deltas on the http thread. `index`: which of its sub-requests.
class DeltaTaker {
 public:
  virtual ~DeltaTaker() = default;
  virtual void OnDelta(size_t index, TokenDelta delta) = 0;
  virtual void OnRefused(size_t index, Error error) = 0;  // the engine did not accept sub-request `index`
};

// Thread: Push and PushRefusal from any (mostly engine): they only move a value. Delivery is on whatever thread `post` runs tasks on.
class Outbox : public std::enable_shared_from_this<Outbox> {
 public:
  using Post = std::function<void(std::function<void()>)>;
  explicit Outbox(Post post) : post_(std::move(post)) {}

  void Push(std::shared_ptr<DeltaTaker> taker, size_t index, TokenDelta delta) { Add({std::move(taker), index, std::move(delta), {}}); }
  void PushRefusal(std::shared_ptr<DeltaTaker> taker, size_t index, Error error) { Add({std::move(taker), index, {}, std::move(error)}); }
  // From now on everything is dropped: the http thread is about to go.
  void Close() {
    std::vector<Item> dropped;
    std::lock_guard lock(mutex_);
    closed_ = true;
    dropped.swap(items_);
  }

 private:
  struct Item {
    std::shared_ptr<DeltaTaker> taker;
    size_t index;
    TokenDelta delta;
    std::optional<Error> refusal;
  };
  void Add(Item item) {
    {
      std::lock_guard lock(mutex_);
      if (closed_) return;
      items_.push_back(std::move(item));
      if (scheduled_) return;
      scheduled_ = true;
    }
    Retry([this] { post_([self = shared_from_this()] { self->Deliver(); }); });  // the item is in: this may not fail
  }
  void Deliver() {
    {
      std::lock_guard lock(mutex_);
      scheduled_ = false;
      delivered_.swap(items_);  // which gets an empty list with room in it
    }
    for (Item& item : delivered_) {
      try {
        if (item.refusal)
          item.taker->OnRefused(item.index, *item.refusal);
        else
          item.taker->OnDelta(item.index, std::move(item.delta));
      } catch (const std::exception& e) {  // out of memory: this request ends, and the others must not be lost
        Retry([&] { item.taker->OnRefused(item.index, Internal(fmt::format("The reply could not be written: {}", e.what()))); });
      }
    }
    delivered_.clear();
    if (delivered_.capacity() > kKeptItems) delivered_ = {};
  }

  static constexpr size_t kKeptItems = 4096;
  const Post post_;
  std::mutex mutex_;  // held for a push or a swap only
  std::vector<Item> items_;
  std::vector<Item> delivered_;  // the http thread's
  bool scheduled_ = false, closed_ = false;
};

}  // namespace sgl
