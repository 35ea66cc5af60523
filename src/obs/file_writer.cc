// SPDX-License-Identifier: Apache-2.0
#include "obs/file_writer.h"

#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <mutex>
#include <utility>

#include "obs/log.h"

namespace sgl {
namespace {

struct Item {
  std::filesystem::path file;
  std::string text;
};

bool Write(const Item& item, bool failing) {
  std::error_code ignored;  // fopen tells
  std::filesystem::create_directories(item.file.parent_path(), ignored);
  std::FILE* file = std::fopen(item.file.c_str(), "ae");
  bool ok = file != nullptr && std::fwrite(item.text.data(), 1, item.text.size(), file) == item.text.size();
  int error = errno;
  if (file != nullptr && std::fclose(file) != 0) {  // what was buffered
    if (ok) error = errno;
    ok = false;
  }
  if (!ok && !failing) LOG_ERROR("{}: {}; lines are lost until it can be written again", item.file.string(), std::strerror(error));
  return ok;
}

}  // namespace

struct FileWriter::State {
  std::mutex mutex;  // one queue between many senders and one thread that may block for seconds
  std::condition_variable changed;
  std::deque<Item> items;
  size_t pending_bytes = 0;
  int64_t dropped = 0, written = 0;
  bool stopping = false, busy = false, ended = false;

  void Work() {
    bool failing = false;
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return stopping || !items.empty(); });
      if (items.empty()) break;
      const Item item = std::move(items.front());
      items.pop_front();
      busy = true;
      lock.unlock();
      failing = !Write(item, failing);
      lock.lock();
      dropped += failing;
      ++written;
      busy = false;
      pending_bytes -= item.text.size();
      if (items.empty()) changed.notify_all();
    }
    ended = true;
    changed.notify_all();
  }
};

FileWriter::FileWriter(size_t max_pending_bytes, std::chrono::milliseconds patience)
    : max_pending_bytes_(max_pending_bytes), patience_(patience), state_(std::make_shared<State>()) {}

FileWriter::~FileWriter() {
  if (!thread_.joinable()) return;
  bool ended = false;
  {
    std::unique_lock lock(state_->mutex);
    state_->stopping = true;
    state_->changed.notify_all();
    for (int64_t before = -1; !ended && before != state_->written;) {
      before = state_->written;
      ended = state_->changed.wait_for(lock, patience_, [&] { return state_->ended; });
    }
  }
  if (ended) {
    thread_.join();
  } else {
    LOG_ERROR("a disk does not answer, its last lines are lost");
    thread_.detach();
  }
}

void FileWriter::Append(std::filesystem::path file, std::string text) {
  {
    std::lock_guard lock(state_->mutex);
    if (state_->stopping) return;
    if (state_->pending_bytes + text.size() > max_pending_bytes_) {
      if (state_->dropped++ == 0) LOG_WARNING("{}: the disk is too slow, lines are dropped", file.string());
      return;
    }
    state_->items.push_back({std::move(file), std::move(text)});
    state_->pending_bytes += state_->items.back().text.size();
    if (!thread_.joinable()) thread_ = std::thread([state = state_] { state->Work(); });
  }
  state_->changed.notify_all();
}

void FileWriter::Flush() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [&] { return state_->items.empty() && !state_->busy; });
}

int64_t FileWriter::dropped() const {
  std::lock_guard lock(state_->mutex);
  return state_->dropped;
}

}  // namespace sgl
