// SPDX-License-Identifier: Apache-2.0
#include "obs/file_writer.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "obs/log.h"

namespace sgl {

FileWriter::FileWriter(size_t max_pending_bytes) : max_pending_bytes_(max_pending_bytes) {}

FileWriter::~FileWriter() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void FileWriter::Append(std::filesystem::path file, std::string text) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    if (pending_bytes_ + text.size() > max_pending_bytes_) {
      if (dropped_++ == 0) LOG_WARNING("{}: the disk is too slow, lines are dropped", file.string());
      return;
    }
    pending_bytes_ += text.size();
    items_.push_back({std::move(file), std::move(text)});
    if (!thread_.joinable()) thread_ = std::thread([this] { Work(); });
  }
  changed_.notify_all();
}

void FileWriter::Flush() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return items_.empty() && !busy_; });
}

int64_t FileWriter::dropped() const {
  std::lock_guard lock(mutex_);
  return dropped_;
}

bool FileWriter::Write(const Item& item) {
  std::error_code ignored;  // fopen tells
  std::filesystem::create_directories(item.file.parent_path(), ignored);
  std::FILE* file = std::fopen(item.file.c_str(), "ae");
  bool ok = file != nullptr && std::fwrite(item.text.data(), 1, item.text.size(), file) == item.text.size();
  const int error = errno;
  if (file != nullptr) ok = std::fclose(file) == 0 && ok;
  if (!ok && !failing_) LOG_ERROR("{}: {}; lines are lost until it can be written again", item.file.string(), std::strerror(error));
  return ok;
}

void FileWriter::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || !items_.empty(); });
    if (items_.empty()) return;
    const Item item = std::move(items_.front());
    items_.pop_front();
    busy_ = true;
    lock.unlock();
    const bool ok = Write(item);
    lock.lock();
    failing_ = !ok;
    if (!ok) ++dropped_;
    busy_ = false;
    pending_bytes_ -= item.text.size();
    if (items_.empty()) changed_.notify_all();
  }
}

}  // namespace sgl
