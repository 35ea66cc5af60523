// What the front end counts: HTTP, and requests as their clients see them. Names and meanings: SGLang's.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "obs/metrics.h"

namespace sgl {

struct MetricsConfig {
  std::vector<double> time_to_first_token, inter_token_latency, e2e_latency, prompt_tokens, generation_tokens;  // bounds; empty: SGLang's
  MetricLabels extra_labels;                                                                                    // on every sample
  std::string custom_labels_header = "x-custom-labels";  // lower case; a JSON object with values of the labels below
  std::vector<std::string> allowed_custom_labels;
  bool priorities = false;  // every sample has the label priority: "", or for what requests count theirs
};

// Thread: any.
struct RequestMetrics {
  explicit RequestMetrics(const MetricsConfig& config);
  Counter requests, structured_requests, prompt_tokens, generation_tokens, cached_tokens;
  Histogram time_to_first_token, inter_token_latency, e2e_latency;
  Histogram prompt_length, uncached_prompt_length, generation_length;

  template <class V>
  void Visit(V&& v) const {
    v("num_requests_total", requests, "requests that ended");
    v("num_so_requests_total", structured_requests, "requests with structured output that ended");
    v("prompt_tokens_total", prompt_tokens, "prompt tokens of requests that ended");
    v("generation_tokens_total", generation_tokens, "output tokens of requests that ended");
    v("cached_tokens_total", cached_tokens, "prompt tokens that came from the prefix cache", {{"cache_source", "device"}});
    v("time_to_first_token_seconds", time_to_first_token, "seconds from the request's arrival to its first token");
    v("inter_token_latency_seconds", inter_token_latency, "seconds between two tokens of a request");
    v("e2e_request_latency_seconds", e2e_latency, "seconds from the request's arrival to its end");
    v("prompt_tokens_histogram", prompt_length, "prompt tokens per request");
    v("uncached_prompt_tokens_histogram", uncached_prompt_length, "prompt tokens per request that were computed");
    v("generation_tokens_histogram", generation_length, "output tokens per request");
  }
};

// Thread: any.
class ServeProbe {
 public:
  explicit ServeProbe(MetricsConfig config);

  // Values of the allowed labels, in their order, then the priority if metrics have it; "" where `given` (an object) has no string. What a
  // client sends can add a limited number of combinations; later ones count as if no labels had been given.
  MetricLabels CustomLabels(const Json& given, std::optional<int64_t> priority = {}) const;
  RequestMetrics& requests(const MetricLabels& custom_labels);  // lives as long as the probe

  Labelled<Counter> http_requests, http_responses;
  Labelled<Gauge> http_active;
  Counter aborted_requests;
  Histogram get_loads_seconds;

  const MetricsConfig& config() const { return config_; }
  // common: labels of every sample.
  void Write(Exposition& text, const MetricLabels& common) const;

 private:
  const MetricsConfig config_;
  mutable std::mutex mutex_;  // held for a look-up
  std::map<MetricLabels, std::unique_ptr<RequestMetrics>> by_labels_;
};

}  // namespace sgl
