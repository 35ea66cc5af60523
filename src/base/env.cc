// SPDX-License-Identifier: Apache-2.0
#include "base/env.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "base/nearest.h"

namespace sgl {
namespace {

std::string_view Trim(std::string_view text) {
  while (!text.empty() && std::string_view(" \t\r\n").find(text.front()) != std::string_view::npos) text.remove_prefix(1);
  while (!text.empty() && std::string_view(" \t\r\n").find(text.back()) != std::string_view::npos) text.remove_suffix(1);
  return text;
}

template <class T>
std::optional<T> ParseNumber(std::string_view text) {
  text = Trim(text);
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

constexpr const char* kTypeNames[] = {"str", "bool", "int", "float", "tuple"};
const char* TypeName(EnvType type) { return kTypeNames[static_cast<int>(type)]; }

bool IsValid(EnvType type, std::string_view text) {
  switch (type) {
    case EnvType::kStr:
    case EnvType::kTuple: return true;
    case EnvType::kBool: return ParseEnv<bool>(text).has_value();
    case EnvType::kInt: return ParseEnv<int64_t>(text).has_value();
    case EnvType::kFloat: return ParseEnv<double>(text).has_value();
  }
  return false;
}

// Old names of single variables. The old values are divided by `divisor` (milliseconds to seconds).
struct EnvAlias {
  const char *old_name, *name;
  double divisor;
};
constexpr EnvAlias kAliases[] = {
    {"SGLANG_QUEUED_TIMEOUT_MS", "SGLANG_REQ_WAITING_TIMEOUT", 1000},
    {"SGLANG_FORWARD_TIMEOUT_MS", "SGLANG_REQ_RUNNING_TIMEOUT", 1000},
};

bool IsRegistered(std::string_view name) {
  return std::any_of(AllEnv().begin(), AllEnv().end(), [&](const EnvInfo& info) { return name == info.name; });
}
bool IsAlias(std::string_view name) {
  return std::any_of(std::begin(kAliases), std::end(kAliases), [&](const EnvAlias& alias) { return name == alias.old_name; });
}

std::vector<std::string> NamesInEnvironment() {
  std::vector<std::string> names;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    names.emplace_back(text.substr(0, text.find('=')));
  }
  std::sort(names.begin(), names.end());
  return names;
}

void CopyOldNames(std::vector<std::string>& warnings) {
  for (const std::string& name : NamesInEnvironment()) {
    if (name.rfind("SGL_", 0) != 0 || IsRegistered(name)) continue;
    const std::string renamed = "SGLANG_" + name.substr(4);
    warnings.push_back(fmt::format("environment variable {} is deprecated, use {}", name, renamed));
    if (!RawEnv(renamed.c_str())) SetRawEnv(renamed.c_str(), RawEnv(name.c_str()));
  }
  for (const EnvAlias& alias : kAliases) {
    const auto raw = RawEnv(alias.old_name);
    if (!raw) continue;
    warnings.push_back(fmt::format("environment variable {} is deprecated, use {}", alias.old_name, alias.name));
    const auto value = ParseEnv<double>(*raw);
    if (!value)
      warnings.push_back(fmt::format("Invalid value for {}: \"{}\" is not a float, ignored", alias.old_name, *raw));
    else if (!RawEnv(alias.name))
      SetRawEnv(alias.name, FormatEnv(*value / alias.divisor));
  }
}

}  // namespace

std::optional<std::string> RawEnv(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

void SetRawEnv(const char* name, const std::optional<std::string>& value) {
  if (value)
    setenv(name, value->c_str(), 1);
  else
    unsetenv(name);
}

template <>
std::optional<std::string> ParseEnv<std::string>(std::string_view text) {
  return std::string(text);
}
template <>
std::optional<bool> ParseEnv<bool>(std::string_view text) {
  std::string lower(Trim(text));
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (lower == "true" || lower == "1" || lower == "yes" || lower == "y") return true;
  if (lower == "false" || lower == "0" || lower == "no" || lower == "n") return false;
  return std::nullopt;
}
template <>
std::optional<int64_t> ParseEnv<int64_t>(std::string_view text) {
  return ParseNumber<int64_t>(text);
}
template <>
std::optional<double> ParseEnv<double>(std::string_view text) {
  const auto value = ParseNumber<double>(text);
  return value && std::isfinite(*value) ? value : std::nullopt;
}
template <>
std::optional<std::vector<std::string>> ParseEnv<std::vector<std::string>>(std::string_view text) {
  std::vector<std::string> items;
  if (Trim(text).empty()) return items;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    items.emplace_back(Trim(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return items;
}

std::string FormatEnv(const std::string& value) { return value; }
std::string FormatEnv(bool value) { return value ? "true" : "false"; }
std::string FormatEnv(int64_t value) { return fmt::format("{}", value); }
std::string FormatEnv(double value) { return fmt::format("{}", value); }
std::string FormatEnv(const std::vector<std::string>& value) {
  std::string text;
  for (const std::string& item : value) text += (text.empty() ? "" : ",") + item;
  return text;
}

const std::vector<EnvInfo>& AllEnv() {
#define SGL_LIST_ENV(type, variable, name, fallback, help) env::k##variable.info(),
  static const std::vector<EnvInfo> all = {SGL_ENVIRONMENT(SGL_LIST_ENV)};
#undef SGL_LIST_ENV
  return all;
}

std::vector<std::string> PrepareEnvironment() {
  std::vector<std::string> warnings;
  CopyOldNames(warnings);
  for (const EnvInfo& info : AllEnv()) {
    const auto raw = RawEnv(info.name);
    if (raw && !IsValid(info.type, *raw))
      warnings.push_back(fmt::format("Invalid value for {}: \"{}\" is not a {}, using default \"{}\"", info.name, *raw, TypeName(info.type),
                                     info.fallback));
  }
  std::vector<std::string> known;
  for (const EnvInfo& info : AllEnv()) known.emplace_back(info.name);
  for (const std::string& name : NamesInEnvironment()) {
    if (name.rfind("SGLANG_", 0) != 0 || IsRegistered(name) || IsAlias(name)) continue;
    const std::string nearest = Nearest(name, known);
    warnings.push_back(fmt::format("environment variable {} is not known to this build and has no effect{}", name,
                                   nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest)));
  }
  return warnings;
}

std::string DescribeEnvironment() {
  std::string out;
  for (const EnvInfo& info : AllEnv()) {
    const auto raw = RawEnv(info.name);
    std::string now = raw ? fmt::format("\"{}\"", *raw) : "unset";
    if (raw && !IsValid(info.type, *raw)) now += " (invalid, the default is used)";
    out += fmt::format("{}\n    {}\n    type {}, default \"{}\", now {}\n", info.name, info.help, TypeName(info.type), info.fallback, now);
  }
  return out;
}

std::string EnvironmentMarkdown() {
  std::string out = "| Variable | Type | Default | Meaning |\n|---|---|---|---|\n";
  for (const EnvInfo& info : AllEnv())
    out += fmt::format("| `{}` | {} | {} | {} |\n", info.name, TypeName(info.type),
                       *info.fallback == '\0' ? "" : fmt::format("`{}`", info.fallback), info.help);
  return out;
}

}  // namespace sgl
