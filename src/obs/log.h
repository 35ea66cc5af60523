// Levelled log lines on stderr, coloured on a terminal.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <fmt/core.h>

#include <string_view>

namespace sgl {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

void SetLogLevel(LogLevel level);
bool SetLogLevel(std::string_view name);  // debug, info, warning, error, critical; false if unknown
bool LogEnabled(LogLevel level);
void SetLogMilliseconds(bool on);  // behind the seconds of every line's time
// Stands behind the time of every line that this thread logs: " DP1".
void SetLogPrefix(std::string_view prefix);
// One line "[2026-01-31 12:00:00] INFO  text", written with a single write(2). Thread: any.
void LogLine(LogLevel level, std::string_view text);

template <class... Args>
void Log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (LogEnabled(level)) LogLine(level, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace sgl

#define LOG_DEBUG(...) ::sgl::Log(::sgl::LogLevel::kDebug, __VA_ARGS__)
#define LOG_INFO(...) ::sgl::Log(::sgl::LogLevel::kInfo, __VA_ARGS__)
#define LOG_WARNING(...) ::sgl::Log(::sgl::LogLevel::kWarning, __VA_ARGS__)
#define LOG_ERROR(...) ::sgl::Log(::sgl::LogLevel::kError, __VA_ARGS__)
