// SPDX-License-Identifier: Apache-2.0
#include "obs/log.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <ctime>
#include <string>

namespace sgl {
namespace {

thread_local std::string prefix;
std::atomic<LogLevel> threshold{LogLevel::kInfo};
std::atomic<bool> milliseconds{false};

// https://no-color.org, https://bixense.com/clicolors
bool Coloured() {
  static const bool coloured = [] {
    if (std::getenv("NO_COLOR") != nullptr) return false;
    if (std::getenv("CLICOLOR_FORCE") != nullptr) return true;
    return isatty(STDERR_FILENO) == 1;
  }();
  return coloured;
}

struct LevelStyle {
  const char* name;
  const char* colour;
};
constexpr LevelStyle kStyles[] = {{"DEBUG", "\033[2m"}, {"INFO", ""}, {"WARNING", "\033[33m"}, {"ERROR", "\033[31m"}};

}  // namespace

void SetLogPrefix(std::string_view text) { prefix = text; }

void SetLogMilliseconds(bool on) { milliseconds.store(on); }

void SetLogLevel(LogLevel level) { threshold.store(level); }

bool SetLogLevel(std::string_view name) {
  if (name == "debug")
    SetLogLevel(LogLevel::kDebug);
  else if (name == "info")
    SetLogLevel(LogLevel::kInfo);
  else if (name == "warning" || name == "warn")
    SetLogLevel(LogLevel::kWarning);
  else if (name == "error" || name == "critical")
    SetLogLevel(LogLevel::kError);
  else
    return false;
  return true;
}

bool LogEnabled(LogLevel level) { return level >= threshold.load(std::memory_order_relaxed); }

void LogLine(LogLevel level, std::string_view text) {
  std::timespec now{};
  std::timespec_get(&now, TIME_UTC);
  std::tm local{};
  localtime_r(&now.tv_sec, &local);
  char seconds[32];
  std::strftime(seconds, sizeof seconds, "%Y-%m-%d %H:%M:%S", &local);
  const std::string stamp =
      milliseconds.load(std::memory_order_relaxed) ? fmt::format("{}.{:03}", seconds, now.tv_nsec / 1000000) : seconds;
  const LevelStyle& style = kStyles[static_cast<int>(level)];
  const bool colour = Coloured() && *style.colour != '\0';
  std::string line =
      fmt::format("{}[{}{}] {}{}{}{}\n", colour ? style.colour : "", stamp, prefix, level >= LogLevel::kWarning ? style.name : "",
                  level >= LogLevel::kWarning ? " " : "", text, colour ? "\033[0m" : "");
  for (std::string_view rest = line; !rest.empty();) {
    const ssize_t written = write(STDERR_FILENO, rest.data(), rest.size());
    if (written <= 0) return;  // nobody reads our log: not a reason to stop serving
    rest.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace sgl
