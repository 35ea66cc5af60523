// SPDX-License-Identifier: Apache-2.0
#include "serve/text_pool.h"

#include <pthread.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "base/thread_pool.h"
#include "obs/log.h"

namespace sgl {

TextPool::TextPool(int threads, size_t capacity) : capacity_(capacity) {
  for (int i = 0; i < std::max(threads, 1); ++i) threads_.emplace_back([this] { Work(); });
}

TextPool::~TextPool() { Stop(); }

bool TextPool::Post(Task&& task) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_ || tasks_.size() >= capacity_) return false;
    tasks_.push_back(std::move(task));
  }
  ready_.notify_one();
  return true;
}

void TextPool::Stop() {
  {
    std::deque<Task> dropped;  // goes after the lock: a task may hold the last reference to an exchange, which then answers 500
    std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(tasks_);
  }
  ready_.notify_all();
  for (std::thread& thread : threads_)
    if (thread.joinable()) thread.join();
}

void TextPool::Work() {
  pthread_setname_np(pthread_self(), "text");
  LowerThreadPriority();
  while (true) {
    Task task;
    {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [&] { return stopping_ || !tasks_.empty(); });
      if (stopping_) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    // Only bad_alloc and its like can come here: one request too many must not end the others. Its exchange answers 500 by itself.
    try {
      task();
    } catch (const std::exception& e) {
      LOG_ERROR("A request could not be prepared: {}", e.what());
    }
  }
}

}  // namespace sgl
