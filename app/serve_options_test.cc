// SPDX-License-Identifier: Apache-2.0
#include "app/serve_options.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "app/app_test_util.h"
#include "base/env.h"

namespace sgl {
namespace {

struct Parsed {
  ServeOptions config;
  Options options{"sglang serve"};
  std::string error;
  explicit Parsed(std::vector<std::string> args, bool with_model = true) {
    if (with_model) args.insert(args.begin(), {"--model-path", "m"});
    config.Visit(options);
    Status status = options.Parse(args);
    if (status.ok()) status = config.Finish();
    if (!status.ok()) error = status.error().message;
  }
};

TEST(ServeOptions, DefaultsAreSGLangs) {
  Parsed p({});
  ASSERT_EQ(p.error, "");
  EXPECT_EQ(p.config.api.http.host, "127.0.0.1");
  EXPECT_EQ(p.config.api.http.port, 30000);
  EXPECT_EQ(p.config.engine.served_model_name, "m");
  EXPECT_EQ(p.config.engine.sched.schedule_policy, "fcfs");
  EXPECT_EQ(p.config.engine.sched.max_prefill_tokens, 16384);
  EXPECT_EQ(p.config.engine.decode_log_interval, 40);
  EXPECT_TRUE(p.options.warnings().empty());
}

// The command lines that SGLang's own tests and scripts use.
TEST(ServeOptions, CommandLinesInTheWild) {
  Parsed p({"--device",
            "cpu",
            "--host",
            "0.0.0.0",
            "--port",
            "0",
            "--api-key",
            "k",
            "--mem-fraction-static",
            "0.7",
            "--max-total-token",
            "4k",
            "--context-len=2Ki",
            "--disable-radix",
            "--tp",
            "1",
            "--cuda-graph-max-bs",
            "2",
            "--attention-backend",
            "fa3",
            "--disable-cuda-graph",
            "--cuda-graph-bs",
            "1",
            "2",
            "4",
            "--trust-remote-code",
            "--chunked-prefill-size",
            "-1",
            "--stream-output"});
  ASSERT_EQ(p.error, "");
  EXPECT_EQ(p.config.engine.max_total_tokens, 4000);
  EXPECT_EQ(p.config.engine.context_length, 2048);
  EXPECT_TRUE(p.config.engine.disable_radix_cache);
  EXPECT_TRUE(p.config.api.incremental_streaming_output);
  EXPECT_EQ(p.config.engine.sched.chunked_prefill_size, -1);
  EXPECT_EQ(p.options.warnings().size(), 6u);
}

TEST(ServeOptions, CrossChecks) {
  EXPECT_EQ(Parsed({}, false).error, "the following arguments are required: --model-path");
  EXPECT_EQ(Parsed({"--served-model-name", "a:b"}).error,
            "argument --served-model-name: 'a:b' contains ':', which is reserved for adapters");
  EXPECT_EQ(Parsed({"--chunked-prefill-size", "100", "--page-size", "16"}).error,
            "argument --chunked-prefill-size: 100 is not a multiple of --page-size 16");
  EXPECT_EQ(Parsed({"--chunked-prefill-size", "0"}).error, "argument --chunked-prefill-size: 0 is neither -1 nor a number of tokens");
  EXPECT_EQ(Parsed({"--max-total-tokens", "8", "--page-size", "16"}).error,
            "argument --max-total-tokens: 8 is less than one page of 16 tokens");
  EXPECT_EQ(Parsed({"--json-model-override-args", "[]"}).error, "argument --json-model-override-args: expected a JSON object, got array");
  EXPECT_EQ(Parsed({"--json-model-override-args", "{"}).error.substr(0, 37), "argument --json-model-override-args: ");
  EXPECT_EQ(Parsed({"--schedule-conservativeness", "-1"}).error, "argument --schedule-conservativeness: -1 is not >= 0");
  EXPECT_EQ(Parsed({"--device", "cuda"}).error, "argument --device: invalid choice: 'cuda' (choose from auto, cpu)");
}

TEST(ServeOptions, WhatWouldChangeBehaviourFails) {
  EXPECT_EQ(Parsed({"--speculative-algorithm", "EAGLE"}).error,
            "argument --speculative-algorithm: 'EAGLE' is not available in this build: it has no speculative decoding");
  EXPECT_EQ(Parsed({"--tp-size", "2"}).error, "argument --tp-size: '2' is not available in this build: it runs as one rank in one process");
  EXPECT_NE(Parsed({"--enable-lora"}).error, "");
  EXPECT_NE(Parsed({"--grammar-backend", "guidance"}).error, "");
  EXPECT_EQ(Parsed({"--grammar-backend", "none", "--tp-size", "1", "--disaggregation-mode", "null"}).error, "");
}

TEST(ServeOptions, Replicas) {
  const Parsed p({"--data-parallel-size", "2", "--load-balance-method", "shortest_queue", "--watchdog-timeout", "0"});
  EXPECT_EQ(p.error, "");
  EXPECT_EQ(p.config.engine.dp_size, 2);
  EXPECT_EQ(p.config.load_balance_method, "shortest_queue");
  EXPECT_EQ(p.config.watchdog.timeout_s, 0);
  EXPECT_EQ(Parsed({}).config.watchdog.timeout_s, 300);
  EXPECT_NE(Parsed({"--dp-size", "0"}).error, "");
  EXPECT_NE(Parsed({"--load-balance-method", "follow_bootstrap_room"}).error, "");
  EnvStr::Override bind(env::kCpuOmpThreadsBind, "0|1");
  EXPECT_EQ(Parsed({"--dp-size", "2"}).config.engine.cpus, (std::vector<std::vector<int>>{{0}, {1}}));
  EXPECT_NE(Parsed({"--dp-size", "3"}).error.find("2 lists"), std::string::npos);
}

TEST(ServeOptions, NoNameStandsForTwoFlags) {
  ServeOptions config;
  Options options("sglang serve");
  config.Visit(options);
  std::set<std::string> names;
  const Json dump = options.Dump();
  for (const ForeignFlag& flag : ForeignFlags()) {
    std::string_view rest = flag.name;
    for (size_t end; !rest.empty(); rest.remove_prefix(std::min(rest.size(), end + 1))) {
      end = std::min(rest.find('|'), rest.size());
      std::string name(rest.substr(0, end));
      EXPECT_TRUE(names.insert(name).second) << name;
      std::replace(name.begin(), name.end(), '-', '_');
      if (flag.dest.empty()) {
        EXPECT_EQ(dump.find(name), nullptr) << name;
      }
    }
    EXPECT_FALSE(flag.note.empty()) << flag.name;
  }
}

TEST(ServeOptions, ParsersAreKnownNames) {
  const Parsed given({"--tool-call-parser", "qwen3_coder", "--reasoning-parser", "auto", "--chat-template", "deepseek-v3.2"});
  EXPECT_EQ(given.error, "");
  EXPECT_EQ(given.config.api.tool_call_parser, "qwen3_coder");
  EXPECT_EQ(given.config.api.reasoning_parser, "auto");
  EXPECT_EQ(given.config.api.chat_template, "deepseek-v3.2");
  EXPECT_EQ(Parsed({}).config.api.tool_call_parser, "auto");
  EXPECT_TRUE(Parsed({"--enable-strict-thinking"}).config.api.strict_thinking);
  EXPECT_NE(Parsed({"--tool-call-parser", "nope"}).error.find("qwen3_coder"), std::string::npos);
  EXPECT_NE(Parsed({"--reasoning-parser", "nope"}).error.find("deepseek-r1"), std::string::npos);
}

TEST(ServeOptions, DumpHasWhatRoutersRead) {
  const Json dump = Parsed({"--api-key", "secret"}).options.Dump();
  for (const char* name :
       {"model_path", "tokenizer_path", "served_model_name", "tp_size", "dp_size", "disaggregation_mode", "load_balance_method",
        "max_total_tokens", "max_prefill_tokens", "max_running_requests", "mem_fraction_static", "disable_radix_cache"})
    EXPECT_NE(dump.find(name), nullptr) << name;
  EXPECT_EQ(DumpJson(dump).find("secret\""), std::string::npos);
}

TEST(ServeOptions, EnvironmentReachesTheConfigs) {
  EnvBool::Override retract(env::kTestRetract, true);
  EnvInt::Override interval(env::kTestRetractInterval, 5);
  EnvFloat::Override waiting(env::kReqWaitingTimeout, 2.5);
  EnvFloat::Override health(env::kHealthCheckTimeout, 1.5);
  EnvBool::Override generates(env::kHealthGenerates, false);
  EnvFloat::Override keep_alive(env::kTimeoutKeepAlive, 7);
  const Parsed p({});
  EXPECT_EQ(p.config.engine.sched.test_retract_interval, 5);
  EXPECT_EQ(p.config.engine.sched.waiting_timeout_s, 2.5);
  EXPECT_EQ(p.config.api.health_timeout.count(), 1500);
  EXPECT_FALSE(p.config.api.health_generates);
  EXPECT_EQ(p.config.api.http.keep_alive_timeout.count(), 7000);
}

// Both the structs and the registry have these defaults: neither may drift.
TEST(ServeOptions, RoutesCanBeMoved) {
  EXPECT_TRUE(Parsed({}).config.api.moved_routes.empty());
  EXPECT_EQ(Parsed({"--fastapi-root-path", "/models/a/"}).config.api.root_path, "/models/a");
  EXPECT_EQ(Parsed({"--fastapi-root-path", "/"}).config.api.root_path, "");
  EXPECT_EQ(Parsed({"--fastapi-root-path", "a"}).error, "argument --fastapi-root-path: 'a' does not begin with '/'");
  EnvStr::Override root(env::kOllamaRootRoute, "/"), vertex(env::kVertexRoute, "/v1/endpoints/7:predict");
  const std::vector<std::pair<std::string, std::string>> moved = {{"/", "/"}, {"/vertex_generate", "/v1/endpoints/7:predict"}};
  EXPECT_EQ(Parsed({}).config.api.moved_routes, moved);
  EnvStr::Override chat(env::kOllamaChatRoute, "chat");
  EXPECT_EQ(Parsed({}).error, "SGLANG_OLLAMA_CHAT_ROUTE: 'chat' does not begin with '/'");
}

TEST(ServeOptions, EnvironmentDefaultsAreTheStructs) {
  const Parsed p({});
  const SchedConfig fresh;
  EXPECT_EQ(p.config.engine.sched.init_new_token_ratio, fresh.init_new_token_ratio);
  EXPECT_EQ(p.config.engine.sched.min_new_token_ratio_factor, fresh.min_new_token_ratio_factor);
  EXPECT_EQ(p.config.engine.sched.new_token_ratio_decay_steps, fresh.new_token_ratio_decay_steps);
  EXPECT_EQ(p.config.engine.sched.clip_max_new_tokens, fresh.clip_max_new_tokens);
  EXPECT_EQ(p.config.engine.sched.retract_decode_steps, fresh.retract_decode_steps);
  EXPECT_EQ(p.config.engine.check_when_busy, EngineConfig().check_when_busy);
  EXPECT_EQ(p.config.engine.return_original_logprob, EngineConfig().return_original_logprob);
  EXPECT_EQ(p.config.api.health_timeout, ApiConfig().health_timeout);
  EXPECT_EQ(p.config.api.http.keep_alive_timeout, HttpServerConfig().keep_alive_timeout);
}

TEST(ServeOptions, WhatOnceWasRefused) {
  Parsed p({"--allow-auto-truncate", "--stream-response-default-include-usage", "--enable-request-time-stats-logging"});
  EXPECT_EQ(p.error, "");
  EXPECT_TRUE(p.options.warnings().empty());
  EXPECT_TRUE(p.config.api.auto_truncate && p.config.api.stream_includes_usage && p.config.api.log_time_stats);
}

TEST(ChatTemplateFlag, FileJsonAndBuiltIn) {
  TempDir dir;
  EXPECT_EQ(*ReadChatTemplate(dir.Write("t.jinja", "\n{{ x }}\\n{{ y }}\n\n")), "{{ x }}\n{{ y }}");
  EXPECT_EQ(*ReadChatTemplate(dir.Write("t.json", "{\"chat_template\": \"{{ y }}\"}")), "{{ y }}");
  const std::string bad = dir.Write("bad.json", "{\"name\": 1}");
  EXPECT_EQ(ReadChatTemplate(bad).error().message, bad + ": expected an object with a string \"chat_template\"");
  const std::string broken = dir.Write("broken.json", "{");
  EXPECT_EQ(ReadChatTemplate(broken).error().message.rfind(broken + ": line 1", 0), 0u);
  EXPECT_NE(ReadChatTemplate("chatml")->find("<|im_start|>"), std::string::npos);
  EXPECT_EQ(ReadChatTemplate("chatnl").error().message,
            "'chatnl' is neither a file nor one of chatml, chatml-llava, gemma-it, internlm2-chat, llama-2, llama-3, llama-4, "
            "llama_3_vision, llava_llama_3, mistral, phi-4-mm, "
            "plain, qwen2-vl, vicuna, vicuna_v1.1, deepseek-v3.2");
  EXPECT_EQ(Parsed({"--chat-template", "chatnl"}).error,
            "argument --chat-template: 'chatnl' is neither a file nor one of chatml, chatml-llava, gemma-it, internlm2-chat, llama-2, "
            "llama-3, llama-4, llama_3_vision, llava_llama_3, mistral, phi-4-mm, "
            "plain, qwen2-vl, vicuna, vicuna_v1.1, deepseek-v3.2");
}

TEST(ModelPath, FilesFirstThenTheHubCache) {
  TempDir dir;
  const std::string file = dir.Write("m.gguf", "x");
  EXPECT_EQ(*ResolveModelPath(file, ""), file);
  const EnvStr hub(EnvInfo{"HF_HUB_CACHE", EnvType::kStr, "", ""});
  const EnvStr::Override cache(hub, (dir.path() / "hub").string());
  dir.Write("hub/models--org--name/refs/main", "abc123\n");
  dir.Write("hub/models--org--name/snapshots/abc123/config.json", "{}");
  dir.Write("hub/models--org--name/snapshots/def456/config.json", "{}");
  EXPECT_EQ(*ResolveModelPath("org/name", ""), (dir.path() / "hub/models--org--name/snapshots/abc123").string());
  EXPECT_EQ(*ResolveModelPath("org/name", "def456"), (dir.path() / "hub/models--org--name/snapshots/def456").string());
  EXPECT_EQ(ResolveModelPath("org/name", "v9").error().code, Code::kNotFound);
  EXPECT_EQ(ResolveModelPath("org/name", "../x").error().message, "'../x' is not a revision");
  EXPECT_EQ(ResolveModelPath("/no/such/dir", "").error().message, "model /no/such/dir not found: there is no such file or directory");
  EXPECT_NE(ResolveModelPath("org/other", "").error().message.find("no snapshot of revision main"), std::string::npos);
}

}  // namespace
}  // namespace sgl
