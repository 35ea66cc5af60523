// Files that grow by whole lines, written by a thread of their own: who has something to tell never waits for a disk.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

namespace sgl {

// Thread: Append and Flush from any. Directories are made when missing. A disk that is full or too slow costs lines, never memory or
// time: each such stretch is logged once, and `dropped` counts.
class FileWriter {
 public:
  explicit FileWriter(size_t max_pending_bytes = size_t{64} << 20);
  ~FileWriter();  // writes what is pending
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void Append(std::filesystem::path file, std::string text);
  void Flush();  // returns when everything appended before is on its way to the disk
  int64_t dropped() const;

 private:
  struct Item {
    std::filesystem::path file;
    std::string text;
  };
  void Work();
  bool Write(const Item& item);

  const size_t max_pending_bytes_;
  mutable std::mutex mutex_;  // one queue between many senders and one thread that may block for seconds
  std::condition_variable changed_;
  std::deque<Item> items_;
  size_t pending_bytes_ = 0;
  int64_t dropped_ = 0;
  bool stopping_ = false, busy_ = false, failing_ = false;
  std::thread thread_;  // starts with the first Append
};

}  // namespace sgl
