// SPDX-License-Identifier: Apache-2.0
#include "serve/probe.h"

#include <utility>

#include "obs/buckets.h"

namespace sgl {
namespace {

constexpr size_t kMaxLabelSets = 200;
constexpr size_t kMaxLabelBytes = 128;

template <size_t N>
std::vector<double> Or(const std::vector<double>& given, const double (&usual)[N]) {
  return given.empty() ? std::vector<double>(usual, usual + N) : given;
}

}  // namespace

RequestMetrics::RequestMetrics(const MetricsConfig& config)
    : time_to_first_token(Or(config.time_to_first_token, buckets::kTimeToFirstToken)),
      inter_token_latency(Or(config.inter_token_latency, buckets::kInterTokenLatency)),
      e2e_latency(Or(config.e2e_latency, buckets::kEndToEnd)),
      prompt_length(Or(config.prompt_tokens, buckets::kTokens)),
      uncached_prompt_length(Or(config.prompt_tokens, buckets::kTokens)),
      generation_length(Or(config.generation_tokens, buckets::kTokens)) {}

ServeProbe::ServeProbe(MetricsConfig config) : get_loads_seconds(buckets::kGetLoads), config_(std::move(config)) {
  requests(CustomLabels(Json()));
}

MetricLabels ServeProbe::CustomLabels(const Json& given, std::optional<int64_t> priority) const {
  MetricLabels labels;
  for (const std::string& name : config_.allowed_custom_labels)
    labels.emplace_back(name, given.get_string(name, "").substr(0, kMaxLabelBytes));
  if (config_.priorities) labels.emplace_back("priority", priority ? std::to_string(*priority) : "");
  return labels;
}

RequestMetrics& ServeProbe::requests(const MetricLabels& custom_labels) {
  std::lock_guard lock(mutex_);
  const auto found = by_labels_.find(custom_labels);
  if (found != by_labels_.end()) return *found->second;
  MetricLabels labels = custom_labels;
  if (by_labels_.size() >= kMaxLabelSets)
    for (auto& [name, value] : labels) value.clear();
  std::unique_ptr<RequestMetrics>& slot = by_labels_[labels];
  if (slot == nullptr) slot = std::make_unique<RequestMetrics>(config_);
  return *slot;
}

void ServeProbe::Write(Exposition& text, const MetricLabels& common) const {
  {
    std::lock_guard lock(mutex_);
    for (const auto& [custom, metrics] : by_labels_) {
      MetricLabels labels = common;
      labels.insert(labels.end(), custom.begin(), custom.end());
      text.SetCommonLabels(std::move(labels));
      metrics->Visit(text);
    }
  }
  MetricLabels base = common;
  if (config_.priorities) base.emplace_back("priority", "");
  text.SetCommonLabels(std::move(base));
  text("num_aborted_requests_total", aborted_requests, "aborts asked for");
  text("get_loads_duration_seconds", get_loads_seconds, "seconds to answer /v1/loads");
  text.SetCommonLabels(config_.extra_labels);
  text("http_requests_total", http_requests, "HTTP requests received");
  text("http_responses_total", http_responses, "HTTP replies completely sent");
  text("http_requests_active", http_active, "HTTP requests whose reply is not complete");
}

}  // namespace sgl
