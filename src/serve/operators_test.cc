// What operators see: metrics, request logs, dumps, load, the API's own description.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "obs/log.h"
#include "serve/describe.h"
#include "serve/fakes.h"
#include "serve/params.h"
#include "serve/routes.h"

namespace sgl {
namespace {

struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("operators_test_" + std::to_string(getpid()));
  Folder() { std::filesystem::remove_all(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  // All files, one after the other.
  std::string Text() const {
    std::string out;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
      std::ifstream in(entry.path());
      out.append(std::istreambuf_iterator<char>(in), {});
    }
    return out;
  }
};

TokenDelta Delta(std::vector<TokenId> tokens, std::string text, bool last = false) {
  TokenDelta delta;
  delta.tokens = std::move(tokens);
  delta.text = std::move(text);
  if (last) {
    delta.finish.emplace();
    delta.finish->kind = FinishKind::kLength;
    delta.finish->length = 2;
    delta.queue_time_s = 0.125;
  }
  return delta;
}

std::string Metrics(FakeServer& server) { return server.Get("/metrics")->body; }

bool Has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

ApiConfig WithMetrics() {
  SetLogLevel(LogLevel::kError);
  ApiConfig config;
  config.access_log = false;
  config.enable_metrics = true;
  return config;
}

TEST(MetricsPage, OnlyWhenAskedFor) {
  FakeServer off;
  EXPECT_EQ(off.Get("/metrics")->status, 404);
  FakeServer on(WithMetrics());
  const auto page = on.Get("/metrics");
  EXPECT_EQ(page->status, 200);
  EXPECT_EQ(page->content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(on.Get("/metrics/")->status, 200);
}

TEST(MetricsPage, CountsARequest) {
  FakeServer server(WithMetrics());
  server.Post("/generate", R"({"text":"hi"})");
  EXPECT_TRUE(Has(Metrics(server), "sglang:http_requests_active{endpoint=\"/generate\",method=\"POST\"} 1.0\n"));
  server.Say(0, Delta({65}, "A"));
  server.Say(0, Delta({66}, "B", true));
  const std::string page = Metrics(server);
  const std::string labels = "{model_name=\"org/toy\",engine_type=\"unified\"";
  for (const std::string& line :
       {"sglang:num_requests_total" + labels + "} 1.0\n", "sglang:prompt_tokens_total" + labels + "} 3.0\n",
        "sglang:generation_tokens_total" + labels + "} 2.0\n", "sglang:time_to_first_token_seconds_count" + labels + "} 1.0\n",
        "sglang:inter_token_latency_seconds_count" + labels + "} 1.0\n", "sglang:e2e_request_latency_seconds_count" + labels + "} 1.0\n",
        std::string("sglang:http_responses_total{endpoint=\"/generate\",status_code=\"200\",method=\"POST\"} 1.0\n"),
        std::string("sglang:http_requests_active{endpoint=\"/generate\",method=\"POST\"} 0.0\n"),
        "sglang:num_running_reqs" + labels + ",tp_rank=\"0\",pp_rank=\"0\",moe_ep_rank=\"0\"} 0.0\n"})
    EXPECT_TRUE(Has(page, line)) << line;
}

TEST(MetricsPage, RequestsThatAreNotToBeCounted) {
  FakeServer server(WithMetrics());
  server.Post("/generate", R"({"text":"hi","log_metrics":false})");
  server.Say(0, Delta({65}, "A", true));
  EXPECT_TRUE(Has(Metrics(server), "sglang:num_requests_total{model_name=\"org/toy\",engine_type=\"unified\"} 0.0\n"));
}

TEST(MetricsPage, LabelsOfClientsAreChosenByTheOperator) {
  ApiConfig config = WithMetrics();
  config.metrics.allowed_custom_labels = {"team"};
  config.metrics.extra_labels = {{"zone", "a"}};
  FakeServer server(config);
  const auto ask = [&](const std::string& header) {
    const size_t index = server.backend.accepted.size();
    server.Handle(
        {"POST", "/v1/completions", "", {{"content-type", "application/json"}, {"x-custom-labels", header}}, R"({"prompt":"x"})"});
    server.Say(index, Delta({65}, "A", true));
  };
  ask(R"({"team":"blue","secret":"x"})");
  ask("not json");
  const std::string page = Metrics(server);
  EXPECT_TRUE(Has(page, "sglang:num_requests_total{model_name=\"org/toy\",engine_type=\"unified\",zone=\"a\",team=\"blue\"} 1.0\n"));
  EXPECT_TRUE(Has(page, "zone=\"a\",team=\"\"} 1.0\n"));
  EXPECT_FALSE(Has(page, "secret"));
  for (int i = 0; i < 300; ++i) ask("{\"team\":\"" + std::to_string(i) + "\"}");  // nobody can make the page grow without end
  const std::string flooded = Metrics(server);
  size_t lines = 0;
  for (size_t at = 0; (at = flooded.find("\nsglang:num_requests_total{", at)) != std::string::npos; ++at) ++lines;
  EXPECT_LE(lines, 200U);
}

TEST(MetricsPage, StrangePathsAndMethodsAddNoLabels) {
  FakeServer server(WithMetrics());
  for (int i = 0; i < 50; ++i) server.Handle({"M" + std::to_string(i), "/path" + std::to_string(i), "", {}, ""});
  const std::string page = Metrics(server);
  EXPECT_TRUE(Has(page, "sglang:http_requests_total{endpoint=\"unknown\",method=\"OTHER\"} 50.0\n"));
  EXPECT_FALSE(Has(page, "path1"));
}

TEST(MetricsPage, AClientThatLeavesIsCountedOnce) {
  FakeServer server(WithMetrics());
  server.Post("/generate", R"({"text":"hi"})")->Disconnect();
  server.Say(0, Delta({65}, "A", true));
  const std::string page = Metrics(server);
  EXPECT_TRUE(Has(page, "sglang:http_responses_total{endpoint=\"/generate\",status_code=\"499\",method=\"POST\"} 1.0\n"));
  EXPECT_FALSE(Has(page, "endpoint=\"/generate\",status_code=\"200\""));
}

// Every name in the dashboard is one that we serve.
TEST(MetricsPage, FeedsTheDashboard) {
  FakeServer server(WithMetrics());
  server.Post("/generate", R"({"text":"hi"})");
  server.Say(0, Delta({65}, "A", true));
  const std::string page = Metrics(server);
  std::ifstream in(SGLANG_SOURCE_DIR "/docs/grafana/sglang.json");
  const std::string dashboard((std::istreambuf_iterator<char>(in)), {});
  size_t names = 0;
  for (size_t at = 0; (at = dashboard.find("sglang:", at)) != std::string::npos; ++names) {
    const size_t end = dashboard.find_first_not_of("abcdefghijklmnopqrstuvwxyz_0123456789", at + 7);
    const std::string name = dashboard.substr(at, end - at);
    EXPECT_TRUE(Has(page, "\n" + name + "{")) << name;
    at = end;
  }
  EXPECT_GT(names, 20U);
}

TEST(MetaInfo, TimesWithMetrics) {
  FakeServer server(WithMetrics());
  const auto exchange = server.Post("/generate", R"({"text":"hi"})");
  server.Say(0, Delta({65}, "A"));
  server.Say(0, Delta({66}, "B", true));
  const Json meta = (*ParseJson(exchange->body))["meta_info"];
  EXPECT_EQ(meta["queue_time"], Json(0.125));
  for (const char* name : {"request_received_ts", "api_server_dispatch_finish_ts", "forward_entry_time", "prefill_finished_time",
                           "request_finished_ts", "decode_throughput"})
    EXPECT_TRUE(meta[name].is_number()) << name;
  EXPECT_LE(meta["request_received_ts"].as_double(), meta["request_finished_ts"].as_double());
}

TEST(RequestId, IsEchoed) {
  FakeServer server(WithMetrics());
  const auto exchange = server.Handle({"GET", "/v1/models", "", {{"x-request-id", "abc"}}, ""});
  EXPECT_EQ(exchange->headers, (HttpHeaders{{"x-request-id", "abc"}}));
  const auto stream = server.Handle({"POST", "/generate", "", {{"x-request-id", "abc"}}, R"({"text":"hi","stream":true})"});
  EXPECT_EQ(stream->headers, (HttpHeaders{{"x-request-id", "abc"}}));
}

// A log in a folder, at each level and in both forms.
std::string LogOf(int level, const std::string& format, const std::string& path, const std::string& body) {
  Folder folder;
  ApiConfig config = WithMetrics();
  config.journal.log_requests = true;
  config.journal.log_requests_level = level;
  config.journal.log_requests_format = format;
  config.journal.log_requests_target = {folder.path.string()};
  FakeServer server(config);
  server.Post(path, body);
  server.Say(0, Delta({66}, "out", true));
  server.context().journal.Flush();
  return folder.Text();
}

TEST(RequestLog, LevelsShowMoreAndMore) {
  const std::string body = R"({"text":"it's","rid":"r","sampling_params":{"max_new_tokens":2}})";
  const std::string zero = LogOf(0, "text", "/generate", body);
  EXPECT_TRUE(Has(zero, "Receive: obj=GenerateReqInput(rid='r', return_logprob=False")) << zero;
  EXPECT_TRUE(Has(zero, "Finish: obj=GenerateReqInput(rid='r'")) << zero;
  EXPECT_TRUE(Has(zero, "'finish_reason': {'type': 'length', 'length': 2}")) << zero;
  EXPECT_FALSE(Has(zero, "it's") || Has(zero, "max_new_tokens") || Has(zero, "'out'")) << zero;
  const std::string one = LogOf(1, "text", "/generate", body);
  EXPECT_TRUE(Has(one, "sampling_params={'max_new_tokens': 2, 'temperature': 1.0}")) << one;
  EXPECT_FALSE(Has(one, "it's")) << one;
  const std::string two = LogOf(2, "text", "/generate", body);
  EXPECT_TRUE(Has(two, "text=\"<s>it's\"") && Has(two, "'text': 'out', 'output_ids': [66]")) << two;
}

TEST(RequestLog, LongTextsAreShortenedBelowLevelThree) {
  const std::string body = R"({"text":")" + std::string(1900, 'x') + R"(","rid":"r"})";
  const std::string text(1900, 'x');
  EXPECT_TRUE(Has(LogOf(2, "text", "/generate", body), text));
  EXPECT_EQ(Shortened(Json(std::string(3000, 'y')), 2048).as_string().size(), 2048 + 5);
  EXPECT_EQ(Shortened(Json(Json::Array(3000, Json(1))), 2048).as_array().size(), 2048 + 1);
}

TEST(RequestLog, JsonLinesAndTheBodyOfOpenAiRequests) {
  const std::string log = LogOf(2, "json", "/v1/completions", R"({"prompt":"hi","rid":"r","user":"u"})");
  std::vector<std::string> events;
  for (size_t at = 0; at < log.size();) {
    const size_t end = log.find('\n', at);
    const std::string line = log.substr(at, end - at);
    at = end + 1;
    EXPECT_EQ(line[0], '[');
    const Result<Json> json = ParseJson(line.substr(line.find(']') + 2));
    ASSERT_TRUE(json.ok()) << line;
    EXPECT_EQ((*json)["rid"], Json("r"));
    events.push_back(json->get_string("event", ""));
    if (events.back() == "request.received.openai") {
      EXPECT_EQ((*json)["obj"]["user"], Json("u"));
    }
    if (events.back() == "request.finished") {
      EXPECT_EQ((*json)["out"]["text"], Json("out"));
    }
  }
  EXPECT_EQ(events, (std::vector<std::string>{"request.received", "request.received.openai", "request.finished"}));
}

TEST(Dump, IsReadBackByGenerate) {
  Folder folder;
  FakeServer server(WithMetrics());
  const Json setting = Json().Set("dump_requests_folder", folder.path.string()).Set("dump_requests_threshold", 2);
  EXPECT_EQ(server.Post("/configure_logging", DumpJson(setting))->status, 200);
  for (size_t i = 0; i < 3; ++i) {
    server.Post("/generate", R"({"input_ids":[1,2],"sampling_params":{"max_new_tokens":7,"top_p":0.5,"stop":["z"],"stop_token_ids":[5],
                 "sampling_seed":4,"logit_bias":{"3":1.5}},"return_logprob":true,"top_logprobs_num":2,"token_ids_logprob":[9]})");
    server.Say(i, Delta({66}, "out", true));
  }
  server.context().journal.Flush();  // the third is in a file of its own, though the threshold is two
  const std::string dump = folder.Text();
  size_t requests = 0;
  for (size_t at = 0; at < dump.size();) {
    const size_t end = dump.find('\n', at);
    const Result<Json> line = ParseJson(dump.substr(at, end - at));
    at = end + 1;
    ASSERT_TRUE(line.ok());
    if (line->find("server_args") != nullptr) continue;
    ++requests;
    EXPECT_EQ((*line)["out"]["output_ids"], Json(Json::Array{Json(66)}));
    EXPECT_TRUE((*line)["created"].is_number() && (*line)["finished"].is_number());
    const size_t index = server.backend.accepted.size();
    Json again = (*line)["request"];
    again.Set("rid", Json()).Set("text", Json());
    server.Post("/generate", DumpJson(again));
    ASSERT_EQ(server.backend.accepted.size(), index + 1) << DumpJson(again);
    const ByteTokenizer tokenizer;
    Json once = DescribeRequest(server.backend.accepted[0].request, false, tokenizer);
    Json twice = DescribeRequest(server.backend.accepted[index].request, false, tokenizer);
    EXPECT_EQ(DumpJson(once.Set("rid", 0)), DumpJson(twice.Set("rid", 0)));
  }
  EXPECT_EQ(requests, 3U);
}

TEST(Dump, KeepsWhatReasoningAndProcessorsNeed) {
  ApiConfig config = WithMetrics();
  config.reasoning_parser = "qwen3";
  config.enable_custom_logit_processor = true;
  FakeServer server(config);
  for (const char* body : {R"({"text":"a","require_reasoning":true,"sampling_params":{"json_schema":"{}"}})",
                           R"({"text":"<think>","sampling_params":{"custom_params":{"thinking_budget":9}}})",
                           R"({"text":"a","custom_logit_processor":"DeepseekOCRNoRepeatNGramLogitProcessor",
                               "sampling_params":{"custom_params":{"ngram_size":2,"window_size":9,"whitelist_token_ids":[4]}}})"}) {
    const size_t first = server.backend.accepted.size();
    (void)server.Post("/generate", body);
    ASSERT_EQ(server.backend.accepted.size(), first + 1) << body;
    Json once = DescribeRequest(server.backend.accepted[first].request, false, ByteTokenizer());
    (void)server.Post("/generate", DumpJson(once.Set("rid", Json()).Set("text", Json())));
    ASSERT_EQ(server.backend.accepted.size(), first + 2) << DumpJson(once);
    const GenerateRequest &a = server.backend.accepted[first].request, &b = server.backend.accepted[first + 1].request;
    EXPECT_EQ(a.prompt, b.prompt);
    EXPECT_EQ(a.think_end, b.think_end);
    EXPECT_EQ(a.thinking_budget, b.thinking_budget);
    const NoRepeatNgram none;
    EXPECT_EQ(a.sampling.no_repeat_ngram.value_or(none).size, b.sampling.no_repeat_ngram.value_or(none).size);
    EXPECT_EQ(a.sampling.no_repeat_ngram.value_or(none).exempt, b.sampling.no_repeat_ngram.value_or(none).exempt);
  }
}

TEST(TimeStats, ALinePerRequest) {
  ApiConfig config = WithMetrics();
  config.log_time_stats = true;
  FakeServer server(config);
  server.Post("/generate", R"({"text":"hi","rid":"r"})");
  SetLogLevel(LogLevel::kInfo);
  testing::internal::CaptureStderr();
  server.Say(0, Delta({66}, "out", true));
  const std::string log = testing::internal::GetCapturedStderr();
  SetLogLevel(LogLevel::kError);
  EXPECT_TRUE(Has(log,
                  "ReqTimeStats(rid=r, input_len=3, cached_input_len=0, output_len=1, type=unified): queue_duration=125.00ms, "
                  "forward_duration=125.00ms, entry_time="))
      << log;
}

TEST(Dump, MetricsToFiles) {
  Folder folder;
  ApiConfig config = WithMetrics();
  config.journal.export_metrics_to_file = true;
  config.journal.export_metrics_to_file_dir = folder.path.string();
  FakeServer server(config);
  server.Post("/generate", R"({"text":"hi","rid":"r"})");
  server.Say(0, Delta({66}, "out", true));
  server.context().journal.Flush();
  const Result<Json> line = ParseJson(folder.Text());
  ASSERT_TRUE(line.ok()) << folder.Text();
  EXPECT_EQ((*line)["id"], Json("r"));
  EXPECT_EQ((*line)["completion_tokens"], Json(1));
  const Result<Json> parameters = ParseJson(line->get_string("request_parameters", ""));
  ASSERT_TRUE(parameters.ok());
  EXPECT_EQ((*parameters)["rid"], Json("r"));
}

TEST(ConfigureLogging, SaysWhatIsWrongAndChangesNothingThen) {
  FakeServer server(WithMetrics());
  const auto error = [&](const std::string& body) {
    const auto exchange = server.Post("/configure_logging", body);
    EXPECT_EQ(exchange->status, 400) << body;
    return (*ParseJson(exchange->body)).get_string("message", "");
  };
  EXPECT_EQ(error(R"({"log_requests":true,"log_requests_level":4})"), "log_requests_level must be in [0, 3], got 4.");
  EXPECT_EQ(error(R"({"log_requests":"yes"})"), "log_requests: expected a boolean, got string");
  EXPECT_EQ(error(R"({"log_requests_format":"xml"})"), "log_requests_format must be text or json, got 'xml'.");
  EXPECT_EQ(error(R"({"dump_requests_threshold":0})"), "dump_requests_threshold must be at least 1, got 0.");
  EXPECT_FALSE(server.context().journal.config().log_requests);
  EXPECT_FALSE(server.context().journal.active());
  EXPECT_EQ(server.Post("/configure_logging", R"({"log_requests":true})")->status, 200);
  EXPECT_TRUE(server.context().journal.active());
}

TEST(Profile, StartsAndStops) {
  Folder folder;
  FakeServer server(WithMetrics());
  const std::string body = DumpJson(Json().Set("output_dir", folder.path.string()).Set("num_steps", "5").Set("start_step", "0"));
  EXPECT_EQ(server.Post("/start_profile", body)->body, "Start profiling.\n");
  EXPECT_EQ(server.Post("/start_profile", body)->status, 400);
  const auto stopped = server.Post("/stop_profile", "");
  EXPECT_EQ(stopped->status, 200);
  EXPECT_EQ(stopped->body.find("Stop profiling. This will take some time.\n"), 0U);
  EXPECT_TRUE(ParseJson(folder.Text()).ok());
  EXPECT_EQ(server.Post("/stop_profile", "")->status, 400);
  EXPECT_EQ(server.Post("/start_profile", R"({"num_steps":"many"})")->status, 400);
  EXPECT_EQ(server.Post("/start_profile", R"({"profile_by_stage":true})")->status, 400);
  EXPECT_EQ(server.Post("/start_profile", R"({"profile_prefix":"../x"})")->status, 400);
}

TEST(Loads, PrometheusForm) {
  FakeServer server(WithMetrics());
  const auto page = server.Get("/v1/loads", "format=prometheus");
  EXPECT_TRUE(Has(page->body, "# TYPE sglang_num_running_reqs gauge\nsglang_num_running_reqs{dp_rank=\"0\"} 0\n")) << page->body;
  EXPECT_TRUE(Has(page->body, "sglang_memory_token_capacity{dp_rank=\"0\"} 8000\n"));
  EXPECT_TRUE(Has(page->body, "sglang_queues_waiting{dp_rank=\"0\"} 0\n"));
}

TEST(Loads, OneOfEveryReplica) {
  FakeServer server(WithMetrics());
  server.backend.replicas = 2;
  server.backend.stats_.sched = {.running = 2, .waiting = 4, .retracted = 1, .waiting_tokens = 70, .pending_tokens = 90, .used_tokens = 50};
  server.backend.stats_.held = 1;
  server.backend.stats_.compiling = 3;
  const Json page = *ParseJson(server.Get("/v1/loads")->body);
  EXPECT_EQ(page["dp_rank_count"], Json(2));
  ASSERT_EQ(page["loads"].as_array().size(), 2U);
  const Json& load = page["loads"].as_array()[1];
  EXPECT_EQ(load["dp_rank"], Json(1));
  EXPECT_EQ(load["num_total_tokens"], Json(120)) << "used and waiting";
  EXPECT_EQ(load["queues"], *ParseJson(R"({"waiting":2,"grammar":3,"paused":1,"retracted":1})"));
  EXPECT_EQ(page["aggregate"]["total_running_reqs"], Json(4));
  EXPECT_EQ(page["aggregate"]["total_tokens"], Json(240));
  EXPECT_EQ((*ParseJson(server.Get("/v1/loads", "dp_rank=1")->body))["loads"].as_array().size(), 1U);
  EXPECT_TRUE((*ParseJson(server.Get("/v1/loads", "dp_rank=2")->body))["loads"].as_array().empty());
  const std::string text = server.Get("/v1/loads", "format=prometheus")->body;
  EXPECT_TRUE(Has(text, "sglang_num_running_reqs{dp_rank=\"0\"} 2\nsglang_num_running_reqs{dp_rank=\"1\"} 2\n")) << text;
  const Json old = *ParseJson(server.Get("/get_load")->body);
  EXPECT_EQ(old.as_array()[1]["num_pending_tokens"], Json(90));
  EXPECT_EQ((*ParseJson(server.Get("/server_info")->body))["internal_states"].as_array().size(), 2U);
  EXPECT_TRUE(Has(server.Get("/metrics")->body, "dp_rank=\"1\""));
}

TEST(Metrics, PrioritiesAreALabel) {
  ApiConfig config = WithMetrics();
  config.metrics.priorities = true;
  FakeServer server(config);
  (void)server.Post("/generate", R"({"text":"hi","priority":-7})");
  (void)server.Post("/generate", R"({"text":"hi"})");
  for (size_t i : {0, 1}) {
    TokenDelta delta;
    delta.tokens = {65};
    delta.finish = Finish{};
    server.Say(i, std::move(delta));
  }
  server.backend.probe_.running_reqs.Set(3);
  server.backend.probe_.running_by_priority.at({{"priority", "5"}}).Set(2);
  server.backend.probe_.queue_by_priority.at({{"priority", "5"}}).Set(4);
  const std::string text = server.Get("/metrics")->body;
  const std::string engine = "{model_name=\"org/toy\",engine_type=\"unified\",tp_rank=\"0\",pp_rank=\"0\",moe_ep_rank=\"0\",priority=\"";
  EXPECT_TRUE(Has(text, "sglang:num_running_reqs" + engine + "\"} 3.0\n")) << "all of them";
  EXPECT_TRUE(Has(text, "sglang:num_running_reqs" + engine + "5\"} 2.0\n"));
  EXPECT_TRUE(Has(text, "sglang:num_queue_reqs" + engine + "5\"} 4.0\n"));
  EXPECT_TRUE(Has(text, "sglang:num_requests_total{model_name=\"org/toy\",engine_type=\"unified\",priority=\"-7\"} 1.0\n")) << text;
  EXPECT_TRUE(Has(text, "sglang:num_requests_total{model_name=\"org/toy\",engine_type=\"unified\",priority=\"\"} 1.0\n"));
  EXPECT_TRUE(Has(text, "moe_ep_rank=\"0\",priority=\"\"} "));
}

TEST(Replicas, ARequestNamesItsOwn) {
  FakeServer server;
  server.backend.replicas = 2;
  const auto reply = server.Post("/generate", R"({"text":"hi","routed_dp_rank":1,"data_parallel_rank":0})");
  ASSERT_EQ(server.backend.accepted.size(), 1U);
  EXPECT_EQ(server.backend.accepted[0].request.dp_rank, 1) << "the newer name wins";
  TokenDelta delta;
  delta.tokens = {65};
  delta.finish = Finish{};
  server.Say(0, std::move(delta));
  EXPECT_EQ((*ParseJson(reply->body))["meta_info"]["dp_rank"], Json(0)) << "by its id";
  HttpRequest chat{"POST", "/v1/chat/completions", "", {{"content-type", "application/json"}, {"x-data-parallel-rank", "0"}}, ""};
  chat.body = R"({"messages":[{"role":"user","content":"a"}],"routed_dp_rank":1})";
  (void)server.Handle(chat);
  ASSERT_EQ(server.backend.accepted.size(), 2U);
  EXPECT_EQ(server.backend.accepted[1].request.dp_rank, 0) << "the header wins";
  chat.headers.back().second = "1x";
  EXPECT_TRUE(Has(server.Handle(chat)->body, "X-Data-Parallel-Rank must be in [0, 1], got 1x."));
  EXPECT_EQ(server.Post("/generate", R"({"text":"hi","routed_dp_rank":2})")->status, 400);
  EXPECT_EQ(server.Post("/generate", R"({"text":"hi","routed_dp_rank":"1"})")->status, 400);
}

TEST(Progress, AHeaderAsksForIt) {
  FakeServer server;
  HttpRequest request{"POST", "/generate", "", {{"x-include-progress", "1"}}, R"({"text":"hi","stream":true})"};
  const auto reply = server.Handle(request);
  ASSERT_EQ(server.backend.accepted.size(), 1U);
  EXPECT_TRUE(server.backend.accepted[0].request.progress);
  TokenDelta delta;
  delta.computed_prompt_tokens = 2;
  server.Say(0, std::move(delta));
  ASSERT_EQ(reply->events().size(), 1U);
  EXPECT_EQ(reply->events()[0], R"(: progress {"index":0,"computed_tokens":2,"prompt_tokens":3})");
}

TEST(RootPath, MayBeInFrontOfEveryPath) {
  ApiConfig config;
  config.root_path = "/models/a";
  config.api_key = "k";
  FakeServer server(config);
  const auto get = [&](std::string path) { return server.Handle({"GET", std::move(path), "", {{"authorization", "Bearer k"}}, ""}); };
  for (const char* path : {"/models/a/v1/models/org%2Ftoy", "/v1/models/org%2Ftoy"}) EXPECT_EQ(get(path)->status, 200) << path;
  for (const char* path : {"/models/a", "/models/a/", "/"}) EXPECT_EQ(get(path)->body, R"("SGLang is running")") << path;
  for (const char* path : {"/models/ab", "/models", "/models/a/models/a"}) EXPECT_EQ(get(path)->status, 404) << path;
  EXPECT_EQ(get("/models/a/v1/responses/x")->body, get("/v1/responses/x")->body);
  EXPECT_EQ(get("/models/a/v1/realtime")->body, get("/v1/realtime")->body);
  EXPECT_EQ(server.Get("/models/a/v1/models")->status, 401) << "a key is asked for there, too";
  EXPECT_NE(server.Get("/models/a/health")->status, 401) << "and not here";
  EXPECT_NE(get("/models/a/openapi.json")->body.find(R"("servers":[{"url":"/models/a"}])"), std::string::npos);
}

TEST(MovedRoutes, AreWhereTheyAreToldToBeAndNowhereElse) {
  ApiConfig config;
  config.moved_routes = {{"/", "/ollama"}, {"/api/tags", "/ollama/tags"}, {"/vertex_generate", "/v1/endpoints/7:predict"}};
  FakeServer server(config);
  EXPECT_EQ(server.Get("/ollama")->body, R"("Ollama is running")");
  EXPECT_EQ(server.Get("/ollama/tags")->status, 200);
  EXPECT_EQ(server.Get("/api/ps")->status, 200) << "not moved";
  EXPECT_EQ(server.Get("/v1/endpoints/7:predict")->status, 405) << "POST only, as ever";
  for (const char* path : {"/", "/api/tags", "/vertex_generate"}) EXPECT_EQ(server.Get(path)->status, 404) << path;
  const Result<Json> document = ParseJson(server.Get("/openapi.json")->body);
  ASSERT_TRUE(document.ok());
  EXPECT_TRUE((*document)["paths"]["/ollama/tags"].is_object());
  EXPECT_TRUE((*document)["paths"]["/api/tags"].is_null());

  config.moved_routes = {{"/", "/"}};
  EXPECT_EQ(FakeServer(config).Get("/")->body, R"("Ollama is running")");
}

TEST(OpenApiDocument, HasEveryRouteAndItsFields) {
  FakeServer server(WithMetrics());
  const Result<Json> document = ParseJson(server.Get("/openapi.json")->body);
  ASSERT_TRUE(document.ok());
  std::set<std::string> ids;
  for (const Route& route : Routes()) {
    EXPECT_FALSE(route.summary.empty()) << route.path;
    const std::string path = std::string(route.path) + (route.path.size() > 1 && route.path.back() == '/' ? "{name}" : "");
    const Json& item = (*document)["paths"][path];
    ASSERT_TRUE(item.is_object()) << path;
    for (const auto& [method, operation] : item.as_object())
      EXPECT_TRUE(ids.insert(operation.get_string("operationId", "")).second) << path << method;
  }
  const Json& schema = (*document)["paths"]["/generate"]["post"]["requestBody"]["content"]["application/json"]["schema"];
  EXPECT_EQ(schema["properties"]["stream"], *ParseJson(R"({"type":"boolean"})"));
  EXPECT_EQ(schema["properties"]["text"], *ParseJson(R"({"anyOf":[{"type":"string"},{"type":"array","items":{"type":"string"}}]})"));
  EXPECT_EQ(schema["properties"]["sampling_params"]["properties"]["top_p"], *ParseJson(R"({"type":"number"})"));
  const Json& completions = (*document)["paths"]["/v1/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"];
  EXPECT_EQ(completions["required"], *ParseJson(R"(["prompt"])"));
  EXPECT_EQ(completions["properties"]["stream_options"]["properties"]["include_usage"], *ParseJson(R"({"type":"boolean"})"));
}

TEST(PythonRepr, IsWhatPythonPrints) {
  EXPECT_EQ(PythonRepr(*ParseJson(R"({"a":[null,true,1.5,"x'y","q\"'\n"],"b":{}})")),
            R"({'a': [None, True, 1.5, "x'y", 'q"\'\n'], 'b': {}})");
}

}  // namespace
}  // namespace sgl
