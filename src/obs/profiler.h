// Records what the engine does as a Chrome trace, which https://ui.perfetto.dev opens.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "obs/file_writer.h"

namespace sgl {

struct ProfileOptions {
  std::string output_dir;  // made when missing
  std::string prefix;      // of the file's name
  int64_t num_steps = 0;   // the profile ends by itself after so many; 0: at Stop
  int64_t start_step = 0;  // it begins when the engine has made so many since its start
};

// Thread: any. While no profile is taken, Event and StepDone cost a load.
class Profiler {
 public:
  // Errors: a profile is being taken already; the folder cannot be made.
  Status Start(ProfileOptions options);
  // Writes the file and returns its path. Errors: no profile is being taken; the file cannot be written.
  Result<std::string> Stop();
  bool active() const { return active_.load(std::memory_order_relaxed); }

  // track: the row of the picture. Events of one row must not overlap unless one lies in the other.
  void Event(std::string_view name, std::string_view track, TimePoint begin, TimePoint end, const Json& args = {});
  // The same for things that may overlap in any way.
  void Overlapping(std::string_view name, std::string_view track, TimePoint begin, TimePoint end);
  void StepDone();  // by the engine, after each step

 private:
  void Finish();  // with the mutex held: hands the file to the writer
  int64_t Track(std::string_view name);

  std::atomic<bool> active_{false}, running_{false};
  std::atomic<int64_t> steps_{0};
  std::mutex mutex_;  // the engine writes, an HTTP request starts and stops; taken only while a profile runs
  ProfileOptions options_;
  std::filesystem::path path_;
  std::string events_;
  std::map<std::string, int64_t, std::less<>> tracks_;
  TimePoint origin_{};
  int64_t recorded_ = 0, overlapping_ = 0;
  FileWriter files_;
};

}  // namespace sgl
