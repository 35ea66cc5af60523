// Files that grow by whole lines, written by a thread of their own: who has something to tell never waits for a disk.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

namespace sgl {

// Thread: Append and Flush from any. Directories are made when missing. A disk that is full or too slow costs lines, never memory or
// time: each such stretch is logged once, and `dropped` counts.
class FileWriter {
 public:
  // patience: a write that takes longer does not hold up the end.
  explicit FileWriter(size_t max_pending_bytes = size_t{64} << 20, std::chrono::milliseconds patience = std::chrono::seconds(5));
  ~FileWriter();  // writes what is pending, unless the disk does not answer
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void Append(std::filesystem::path file, std::string text);
  void Flush();  // returns when everything appended before is on its way to the disk
  int64_t dropped() const;

 private:
  struct State;
  const size_t max_pending_bytes_;
  const std::chrono::milliseconds patience_;
  const std::shared_ptr<State> state_;  // the thread's, too: it may be stuck in a write for longer than we live
  std::thread thread_;                  // starts with the first Append
};

}  // namespace sgl
