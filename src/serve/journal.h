// What is told about requests beside their replies: request logs, dumps for replay, metrics exported to files.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "obs/file_writer.h"
#include "serve/json_reader.h"

namespace sgl {

struct JournalConfig {
  bool log_requests = false;
  int log_requests_level = 2;                    // 0 metadata, 1 and sampling parameters, 2 and texts, shortened, 3 everything
  std::string log_requests_format = "text";      // or "json"
  std::vector<std::string> log_requests_target;  // "stdout" and folders; empty: stderr
  std::vector<std::string> log_headers;          // lower case; SGLANG_LOG_REQUEST_HEADERS
  int64_t log_exceeded_ms = -1;                  // > 0: only replies that took as long; SGLANG_LOG_REQUEST_EXCEEDED_MS
  bool export_metrics_to_file = false;
  std::string export_metrics_to_file_dir;
  std::string dump_requests_folder;        // "": no dump
  int64_t dump_requests_threshold = 1000;  // requests per file
  std::vector<std::string> dump_requests_exclude_meta_keys = {"routed_experts", "hidden_states"};
};

// What POST /configure_logging may change; what is not given stays.
struct LoggingChanges {
  std::optional<bool> log_requests;
  std::optional<int> log_requests_level;
  std::optional<std::string> log_requests_format, dump_requests_folder;
  std::optional<int64_t> dump_requests_threshold;
  std::optional<std::vector<std::string>> dump_requests_exclude_meta_keys;
  void Read(JsonReader& field);
};

// One request as the journal sees it.
struct JournalEntry {
  std::string rid;
  Json request;  // DescribeRequest
  Json headers;  // those that are logged; null if none
  double created_unix = 0;
};

// Thread: any. Nothing here waits for a disk.
class Journal {
 public:
  Journal(JournalConfig config, Json server_args);
  ~Journal();  // writes the dump's rest

  // Does anybody want requests described? If not, entries and outputs need not be made.
  bool active() const { return active_.load(std::memory_order_relaxed); }
  const std::vector<std::string>& log_headers() const { return log_headers_; }

  void Received(const JournalEntry& entry, const std::string& openai_body);  // openai_body: "" for native requests
  // out: {"text", "output_ids", "meta_info"}.
  void Finished(const JournalEntry& entry, const Json& out, double finished_unix);

  // POST /configure_logging. All or nothing: an error names the field.
  Status Configure(const Json& changes);
  JournalConfig config() const;
  void Flush();  // for tests: everything told so far is in its files

 private:
  void LogEvent(const JournalConfig& config, const char* event, const JournalEntry& entry, const Json* out) const;
  void Emit(const JournalConfig& config, const std::string& line) const;
  void Export(const JournalConfig& config, const JournalEntry& entry, const Json& out, double finished_unix) const;
  void Dump(const JournalEntry& entry, const Json& out, double finished_unix);
  void WriteDump();

  const std::vector<std::string> log_headers_;
  const Json server_args_;
  std::atomic<bool> active_{false};
  mutable std::mutex mutex_;  // settings that a request may change, and the dump that grows; no I/O inside
  JournalConfig config_;
  std::string dump_;
  int64_t dumped_ = 0;
  mutable FileWriter files_;
};

}  // namespace sgl
