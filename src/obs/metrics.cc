// SPDX-License-Identifier: Apache-2.0
#include "obs/metrics.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace sgl {
namespace {

constexpr std::string_view kPrefix = "sglang:";

void AppendLabelValue(std::string& out, std::string_view value) {
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
}

}  // namespace

bool IsMetricLabel(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !name.empty() && letter(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

std::string MetricNumber(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::string out = fmt::format("{}", value);
  if (out.find_first_of(".e") == std::string::npos) out += ".0";
  return out;
}

Histogram::Histogram(std::span<const double> bounds)
    : bounds_(bounds.begin(), bounds.end()), counts_(std::make_unique<std::atomic<int64_t>[]>(bounds.size() + 1)) {}

void Histogram::Observe(double value, int64_t times) {
  const auto bucket = static_cast<size_t>(std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin());
  counts_[bucket].fetch_add(times, std::memory_order_relaxed);
  sum_.fetch_add(value * static_cast<double>(times), std::memory_order_relaxed);
}

std::string& Exposition::Lines(std::string_view name, std::string_view type, std::string_view help) {
  for (Family& family : families_)
    if (family.name == name) return family.lines;
  Family& family = families_.emplace_back();
  family.name = name;
  const std::string full = std::string(kPrefix) + std::string(name);
  family.lines = "# HELP " + full + " " + std::string(help) + "\n# TYPE " + full + " " + std::string(type) + "\n";
  return family.lines;
}

void Exposition::Sample(std::string& out, std::string_view name, std::string_view suffix, const MetricLabels& labels, std::string_view le,
                        double value) const {
  out += kPrefix;
  out += name;
  out += suffix;
  bool first = true;
  const auto label = [&](std::string_view key, std::string_view text) {
    out += std::exchange(first, false) ? '{' : ',';
    out += key;
    out += "=\"";
    AppendLabelValue(out, text);
    out += '"';
  };
  for (const auto& [key, text] : common_)
    if (std::none_of(labels.begin(), labels.end(), [&key = key](const auto& own) { return own.first == key; })) label(key, text);
  for (const auto& [key, text] : labels) label(key, text);
  if (!le.empty()) label("le", le);
  if (!first) out += '}';
  out += ' ';
  out += MetricNumber(value);
  out += '\n';
}

void Exposition::operator()(std::string_view name, const Counter& counter, std::string_view help, const MetricLabels& labels) {
  Sample(Lines(name, "counter", help), name, "", labels, "", counter.value());
}

void Exposition::operator()(std::string_view name, const Gauge& gauge, std::string_view help, const MetricLabels& labels) {
  Sample(Lines(name, "gauge", help), name, "", labels, "", gauge.value());
}

void Exposition::operator()(std::string_view name, const Histogram& histogram, std::string_view help, const MetricLabels& labels) {
  std::string& out = Lines(name, "histogram", help);
  int64_t total = 0;
  for (size_t i = 0; i < histogram.bounds().size(); ++i) {
    total += histogram.count(i);
    Sample(out, name, "_bucket", labels, MetricNumber(histogram.bounds()[i]), static_cast<double>(total));
  }
  total += histogram.count(histogram.bounds().size());
  Sample(out, name, "_bucket", labels, "+Inf", static_cast<double>(total));
  Sample(out, name, "_sum", labels, "", histogram.sum());
  Sample(out, name, "_count", labels, "", static_cast<double>(total));
}

std::string Exposition::Take() {
  std::string out;
  for (const Family& family : families_) out += family.lines;
  families_.clear();
  return out;
}

}  // namespace sgl
