// Counters, gauges and histograms, and their Prometheus text. A room declares a struct of them (its probe) with one Visit:
//
//   struct CacheProbe {
//     Counter evicted_tokens;
//     template <class V> void Visit(V&& v) const { v("evicted_tokens_total", evicted_tokens, "tokens that left the cache"); }
//   };
//   Exposition text(MetricLabels{{"model_name", "m"}});
//   probe.Visit(text);
//   text.Take();  // "# HELP sglang:evicted_tokens_total ..."
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sgl {

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

// Thread: any, for all of them. Values are read one by one: a scrape is no snapshot over several metrics.
class Counter {
 public:
  void Add(double by = 1) { value_.fetch_add(by, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

class Gauge {
 public:
  void Set(double value) { value_.store(value, std::memory_order_relaxed); }
  void Add(double by) { value_.fetch_add(by, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

class Histogram {
 public:
  // bounds: upper ends of the buckets, ascending; a last one without end is added.
  explicit Histogram(std::span<const double> bounds);
  void Observe(double value, int64_t times = 1);
  const std::vector<double>& bounds() const { return bounds_; }
  int64_t count(size_t bucket) const { return counts_[bucket].load(std::memory_order_relaxed); }  // of that bucket alone
  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  std::vector<double> bounds_;
  std::unique_ptr<std::atomic<int64_t>[]> counts_;  // bounds_.size() + 1
  std::atomic<double> sum_{0};
};

// One metric for each combination of label values that turns up: status codes, endpoints. What clients can choose must be bounded by the
// caller.
template <class T>
class Labelled {
 public:
  T& at(const MetricLabels& labels) {
    std::lock_guard lock(mutex_);
    std::unique_ptr<T>& slot = children_[labels];
    if (slot == nullptr) slot = std::make_unique<T>();
    return *slot;  // children live as long as this
  }
  template <class F>
  void ForEach(F&& f) const {
    std::lock_guard lock(mutex_);
    for (const auto& [labels, child] : children_) f(labels, *child);
  }

 private:
  mutable std::mutex mutex_;  // held for a look-up in a map of a few dozen
  std::map<MetricLabels, std::unique_ptr<T>> children_;
};

// Builds a page in Prometheus' text format 0.0.4. Families may be visited several times with other common labels (one visit per replica);
// each still comes out as one block. A sample's own label takes the place of a common one of the same name.
class Exposition {
 public:
  explicit Exposition(MetricLabels common = {}) : common_(std::move(common)) {}
  void SetCommonLabels(MetricLabels common) { common_ = std::move(common); }

  void operator()(std::string_view name, const Counter& counter, std::string_view help, const MetricLabels& labels = {});
  void operator()(std::string_view name, const Gauge& gauge, std::string_view help, const MetricLabels& labels = {});
  void operator()(std::string_view name, const Histogram& histogram, std::string_view help, const MetricLabels& labels = {});
  template <class T>
  void operator()(std::string_view name, const Labelled<T>& family, std::string_view help) {
    family.ForEach([&](const MetricLabels& labels, const T& child) { (*this)(name, child, help, labels); });
  }
  std::string Take();

 private:
  struct Family {
    std::string name, lines;
  };
  std::string& Lines(std::string_view name, std::string_view type, std::string_view help);
  void Sample(std::string& out, std::string_view name, std::string_view suffix, const MetricLabels& labels, std::string_view le,
              double value) const;
  MetricLabels common_;
  std::vector<Family> families_;
};

// [A-Za-z_][A-Za-z0-9_]*
bool IsMetricLabel(std::string_view name);

// A number as Prometheus reads it, in the form Python writes it: "1.0", "0.25", "+Inf", "NaN".
std::string MetricNumber(double value);

}  // namespace sgl
