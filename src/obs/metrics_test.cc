// SPDX-License-Identifier: Apache-2.0
#include "obs/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "obs/buckets.h"

namespace sgl {
namespace {

struct ToyProbe {
  Counter hits;
  Gauge load;
  Histogram wait{buckets::kGetLoads};
  Labelled<Counter> by_status;
  template <class V>
  void Visit(V&& v) const {
    v("hits_total", hits, "how often", {{"mode", "a"}});
    v("load", load, "how much");
    v("wait_seconds", wait, "how long");
    v("by_status_total", by_status, "by status");
  }
};

TEST(Metrics, TextFormat) {
  ToyProbe probe;
  probe.hits.Add(2);
  probe.load.Set(0.25);
  probe.by_status.at({{"status", "200"}}).Add();
  probe.by_status.at({{"status", "200"}}).Add();
  probe.by_status.at({{"status", "4\"\n"}}).Add();
  Exposition text(MetricLabels{{"model_name", "m\\"}});
  probe.Visit(text);
  const std::string page = text.Take();
  EXPECT_NE(page.find("# HELP sglang:hits_total how often\n# TYPE sglang:hits_total counter\n"
                      "sglang:hits_total{model_name=\"m\\\\\",mode=\"a\"} 2.0\n"),
            std::string::npos)
      << page;
  EXPECT_NE(page.find("# TYPE sglang:load gauge\nsglang:load{model_name=\"m\\\\\"} 0.25\n"), std::string::npos);
  EXPECT_NE(page.find("sglang:by_status_total{model_name=\"m\\\\\",status=\"200\"} 2.0\n"), std::string::npos);
  EXPECT_NE(page.find("status=\"4\\\"\\n\"} 1.0\n"), std::string::npos);
}

TEST(Metrics, HistogramsAreCumulative) {
  ToyProbe probe;
  probe.wait.Observe(0.0001);  // a bucket's upper end belongs to it
  probe.wait.Observe(0.002, 3);
  probe.wait.Observe(7);
  Exposition text;
  probe.Visit(text);
  const std::string page = text.Take();
  for (const char* line : {"_bucket{le=\"0.0001\"} 1.0\n", "_bucket{le=\"0.001\"} 1.0\n", "_bucket{le=\"0.005\"} 4.0\n",
                           "_bucket{le=\"1.0\"} 4.0\n", "_bucket{le=\"+Inf\"} 5.0\n", "_count 5.0\n"})
    EXPECT_NE(page.find("sglang:wait_seconds" + std::string(line)), std::string::npos) << line << page;
  EXPECT_NEAR(probe.wait.sum(), 7.0061, 1e-12);
}

TEST(Metrics, ReplicasShareAFamily) {
  ToyProbe a, b;
  Exposition text(MetricLabels{{"dp_rank", "0"}});
  a.Visit(text);
  text.SetCommonLabels({{"dp_rank", "1"}});
  b.Visit(text);
  const std::string page = text.Take();
  EXPECT_EQ(page.find("# TYPE sglang:load gauge"), page.rfind("# TYPE sglang:load gauge"));
  EXPECT_NE(page.find("sglang:load{dp_rank=\"0\"} 0.0\nsglang:load{dp_rank=\"1\"} 0.0\n"), std::string::npos);
}

TEST(Metrics, NumbersAreWhatPrometheusReads) {
  EXPECT_EQ(MetricNumber(1), "1.0");
  EXPECT_EQ(MetricNumber(0.002), "0.002");
  EXPECT_EQ(MetricNumber(std::numeric_limits<double>::infinity()), "+Inf");
  EXPECT_EQ(MetricNumber(std::nan("")), "NaN");
}

TEST(Metrics, ManyThreadsLoseNothing) {
  ToyProbe probe;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        probe.hits.Add();
        probe.wait.Observe(0.5);
        probe.by_status.at({{"status", std::to_string(i % 3)}}).Add();
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(probe.hits.value(), 4000);
  EXPECT_EQ(probe.wait.count(7), 4000);
  double total = 0;
  probe.by_status.ForEach([&](const MetricLabels&, const Counter& c) { total += c.value(); });
  EXPECT_EQ(total, 4000);
}

TEST(Buckets, Rules) {
  using buckets::ParseBounds;
  using buckets::ParseTokenRule;
  EXPECT_EQ(ParseTokenRule({})->size(), std::size(buckets::kTokens));
  EXPECT_EQ(*ParseTokenRule({"custom", "30", "10", "10"}), (std::vector<double>{10, 30}));
  EXPECT_EQ(*ParseTokenRule({"tse", "10", "4", "4"}), (std::vector<double>{0, 6, 9, 10, 11, 14, 26}));
  EXPECT_EQ(ParseTokenRule({"tse", "10", "1", "4"}).error().message, "tse: the base must be above 1, got 1");
  EXPECT_EQ(ParseTokenRule({"tse", "10"}).error().message, "expected 'default', 'tse <middle> <base> <count>' or 'custom <number>...'");
  EXPECT_EQ(*ParseBounds({"0.5", "1"}), (std::vector<double>{0.5, 1}));
  EXPECT_EQ(ParseBounds({"1", "0.5"}).error().message, "'0.5' is not above the bucket before it");
  EXPECT_EQ(ParseBounds({"x"}).error().message, "'x' is not a number");
  EXPECT_EQ(ParseBounds({}).error().message, "expected at least one number");
}

}  // namespace
}  // namespace sgl
