// SPDX-License-Identifier: Apache-2.0
#include "serve/otlp.h"

#include <gtest/gtest.h>

#include "obs/log.h"
#include "serve/fakes.h"
#include "serve/http_test_kit.h"

namespace sgl {
namespace {

// A collector: the bodies that were posted to /v1/traces.
struct Collector {
  std::mutex mutex;
  std::vector<Json> bodies;
  int status = 200;
  http_test::TestServer server{[this](const http_test::ExchangePtr& exchange) {
    std::lock_guard lock(mutex);
    if (exchange->request().path == "/v1/traces") {
      Result<Json> json = ParseJson(exchange->request().body);
      if (json.ok()) bodies.push_back(*std::move(json));
    }
    exchange->Send(status, "application/json", "{}");
  }};
  TraceConfig config() { return {true, "127.0.0.1:" + std::to_string(server.port()), 3, 10, 64}; }
  std::vector<Json> spans() {
    std::lock_guard lock(mutex);
    std::vector<Json> out;
    for (const Json& body : bodies)
      for (const Json& span : body["resourceSpans"].as_array()[0]["scopeSpans"].as_array()[0]["spans"].as_array()) out.push_back(span);
    return out;
  }
};

Json AttributeOf(const Json& span, const std::string& key) {
  for (const Json& attribute : span["attributes"].as_array())
    if (attribute["key"] == Json(key)) return attribute["value"].as_object().front().second;
  return {};
}

TEST(TraceParent, OnlyWhatTheStandardAllows) {
  const std::string trace(32, 'a'), span(16, 'b');
  const TraceParent good = ParseTraceParent("00-" + trace + "-" + span + "-01");
  EXPECT_EQ(good.trace_id, trace);
  EXPECT_EQ(good.span_id, span);
  for (const std::string& bad : {std::string(), "00-" + trace + "-" + span, "00-" + std::string(32, '0') + "-" + span + "-01",
                                 "00-" + std::string(32, 'G') + "-" + span + "-01", "ff-" + trace + "-" + span + "-01",
                                 "00-" + trace + "-" + std::string(16, '0') + "-01", "00-" + trace + "-" + span + "-01-x"})
    EXPECT_EQ(ParseTraceParent(bad).trace_id, "") << bad;
}

TEST(Spans, OfARequest) {
  Collector collector;
  const std::string trace(32, 'a'), parent(16, 'b');
  {
    ApiConfig config;
    config.trace = collector.config();
    FakeServer server(config);
    server.Handle({"POST", "/generate", "", {{"traceparent", "00-" + trace + "-" + parent + "-01"}}, R"({"text":"hi","rid":"request-1"})"});
    TokenDelta first, last;
    first.tokens = {65};
    server.Say(0, std::move(first));
    last.tokens = {66};
    last.finish.emplace();
    server.Say(0, std::move(last));
    EXPECT_TRUE(http_test::WaitUntil([&] { return collector.spans().size() >= 5; }));
  }
  std::map<std::string, Json> by_name;
  for (const Json& span : collector.spans()) by_name[span.get_string("name", "")] = span;
  const Json& root = by_name["Req request-"];
  EXPECT_EQ(root["traceId"], Json(trace));
  EXPECT_EQ(root["parentSpanId"], Json(parent));
  EXPECT_EQ(AttributeOf(root, "rid"), Json("request-1"));
  EXPECT_EQ(AttributeOf(root, "gen_ai.usage.completion_tokens"), Json("2"));
  for (const char* stage : {"tokenize", "prefill_waiting", "prefill_forward", "decode_forward"}) {
    ASSERT_TRUE(by_name.contains(stage)) << stage;
    EXPECT_EQ(by_name[stage]["parentSpanId"], root["spanId"]) << stage;
    EXPECT_LE(by_name[stage].get_string("startTimeUnixNano", ""), by_name[stage].get_string("endTimeUnixNano", "")) << stage;
  }
}

TEST(Spans, LevelZeroIsSilent) {
  Collector collector;
  ApiConfig config;
  config.trace = collector.config();
  {
    FakeServer server(config);
    EXPECT_EQ(server.Handle({"POST", "/set_trace_level", "level=0", {}, ""})->body, "success");
    EXPECT_EQ(server.Handle({"POST", "/set_trace_level", "level=-1", {}, ""})->status, 400);
    server.Post("/generate", R"({"text":"hi"})");
    TokenDelta last;
    last.tokens = {66};
    last.finish.emplace();
    server.Say(0, std::move(last));
  }
  EXPECT_TRUE(collector.spans().empty());
}

TEST(Spans, ACollectorThatIsAwayCostsNothing) {
  SetLogLevel(LogLevel::kError);
  SpanExporter exporter({true, "127.0.0.1:9", 3, 10, 2});
  for (int i = 0; i < 10; ++i) exporter.Add({std::string(32, 'a'), std::string(16, 'b'), "", "x", 1, 2, Json(), false});
}

TEST(Spans, EndpointsAreChecked) {
  EXPECT_TRUE(SpanExporter::CheckEndpoint("localhost:4318").ok());
  EXPECT_TRUE(SpanExporter::CheckEndpoint("http://collector:4318/custom").ok());
  EXPECT_FALSE(SpanExporter::CheckEndpoint("localhost:x").ok());
  EXPECT_FALSE(SpanExporter::CheckEndpoint("ftp://x").ok());
}

}  // namespace
}  // namespace sgl
