// SPDX-License-Identifier: Apache-2.0
#include "obs/profiler.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "obs/log.h"

namespace sgl {
namespace {

constexpr size_t kMaxBytes = size_t{512} << 20;  // of one profile; later events are left out

double Microseconds(Duration d) { return std::chrono::duration<double, std::micro>(d).count(); }

}  // namespace

Status Profiler::Start(ProfileOptions options) {
  std::lock_guard lock(mutex_);
  if (running_.load()) return InvalidArgument("A profile is being taken already; stop it first.");
  std::error_code error;
  std::filesystem::create_directories(options.output_dir, error);
  if (error || access(options.output_dir.c_str(), W_OK) != 0)
    return InvalidArgument("output_dir: " + options.output_dir + " cannot be written");
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const double unix_seconds = std::chrono::duration<double>(now).count();
  const std::string name = fmt::format("{}{}{:.3f}-TP-0.trace.json", options.prefix, options.prefix.empty() ? "" : "-", unix_seconds);
  path_ = std::filesystem::path(options.output_dir) / name;
  options_ = std::move(options);
  events_.clear();
  tracks_.clear();
  recorded_ = 0;
  origin_ = SteadyClock().Now();
  running_ = true;
  active_ = options_.start_step <= steps_.load();
  return {};
}

int64_t Profiler::Track(std::string_view name) {
  const auto found = tracks_.find(name);
  if (found != tracks_.end()) return found->second;
  const auto id = static_cast<int64_t>(tracks_.size()) + 1;
  tracks_.emplace(name, id);
  const Json args = Json().Set("name", name);
  const Json event = Json().Set("name", "thread_name").Set("ph", "M").Set("pid", 1).Set("tid", id).Set("args", args);
  events_ += (events_.empty() ? "" : ",\n") + DumpJson(event);
  return id;
}

void Profiler::Event(std::string_view name, std::string_view track, TimePoint begin, TimePoint end, const Json& args) {
  if (!active()) return;
  std::lock_guard lock(mutex_);
  if (!active() || events_.size() > kMaxBytes) return;
  begin = std::max(begin, origin_);
  const int64_t tid = Track(track);
  Json event = Json().Set("name", name).Set("cat", track).Set("ph", "X").Set("ts", Microseconds(begin - origin_));
  event.Set("dur", Microseconds(end - begin)).Set("pid", 1).Set("tid", tid);
  if (!args.is_null()) event.Set("args", args);
  events_ += ",\n" + DumpJson(event);
}

void Profiler::Overlapping(std::string_view name, std::string_view track, TimePoint begin, TimePoint end) {
  if (!active()) return;
  std::lock_guard lock(mutex_);
  if (!active() || events_.size() > kMaxBytes) return;
  const int64_t tid = Track(track), id = ++overlapping_;
  const auto half = [&](const char* phase, TimePoint at) {
    Json event = Json().Set("name", name).Set("cat", track).Set("ph", phase).Set("id", id).Set("pid", 1).Set("tid", tid);
    events_ += ",\n" + DumpJson(event.Set("ts", Microseconds(std::max(at, origin_) - origin_)));
  };
  half("b", begin);
  half("e", end);
}

void Profiler::StepDone() {
  const int64_t steps = steps_.fetch_add(1) + 1;
  if (!running_.load(std::memory_order_relaxed)) return;
  std::lock_guard lock(mutex_);
  if (!running_.load()) return;
  if (!active()) {
    active_ = options_.start_step <= steps;
  } else if (options_.num_steps > 0 && ++recorded_ >= options_.num_steps) {
    Finish();
  }
}

void Profiler::Finish() {
  active_ = false;
  running_ = false;
  LOG_INFO("Profile of {} steps goes to {}", recorded_, path_.string());
  files_.Append(path_, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[" + std::exchange(events_, {}) + "]}\n");
}

Result<std::string> Profiler::Stop() {
  std::unique_lock lock(mutex_);
  if (!running_.load()) return InvalidArgument("No profile is being taken.");
  const int64_t lost = files_.dropped();
  Finish();
  const std::string path = path_.string();
  lock.unlock();
  files_.Flush();
  if (files_.dropped() != lost) return Internal(path + " cannot be written");
  return path;
}

}  // namespace sgl
