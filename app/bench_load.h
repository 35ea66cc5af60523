// Sends prompts to a server as a load generator does, and times the tokens that come back.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "app/bench_dataset.h"
#include "app/bench_report.h"
#include "base/json.h"
#include "base/result.h"
#include "serve/http_client.h"

namespace sgl {

enum class BenchApi { kGenerate, kCompletions, kChat };
struct BenchBackend {
  std::string_view name;
  BenchApi api;
  uint16_t port;  // where such a server listens by default
};
std::span<const BenchBackend> BenchBackends();

struct LoadConfig {
  BenchBackend backend{};
  HttpUrl url;  // target: a path in front of the API's own
  HttpHeaders headers;
  std::string model;
  double request_rate = 0;      // requests/s, exponential gaps; infinity: all at once
  int64_t max_concurrency = 0;  // 0: no limit
  bool stream = true, ignore_eos = true, send_ids = false, return_logprob = false;
  Json extra;  // members that every request body gets
  int64_t seed = 1;
};

// One reply as it comes in: fills `outcome`. Times are seconds since the request was sent.
class ReplyReader {
 public:
  ReplyReader(BenchApi api, bool stream, int64_t expected_tokens) : api_(api), stream_(stream), expected_(expected_tokens) {}
  void Take(std::string_view piece, double now_s);
  void End(int status, const Status& ended, double now_s, BenchOutcome& outcome);

 private:
  void TakeEvent(std::string_view data, double now_s);
  void TakeReply(const Json& reply, double now_s);
  void TakeTokens(int64_t total, double now_s);

  BenchApi api_;
  bool stream_;
  int64_t expected_, tokens_ = 0, usage_tokens_ = 0;
  double ttft_s_ = 0, last_s_ = 0;
  std::vector<double> itl_s_;
  std::string body_, text_, error_;
  SseSplitter events_;
};

// The body of one request.
Json RequestBody(const LoadConfig& config, const BenchPrompt& prompt);

// Runs all prompts. Errors: the server cannot be reached at all; what happens to single requests is in their outcome.
Result<BenchRun> RunLoad(const LoadConfig& config, std::span<const BenchPrompt> prompts);

}  // namespace sgl
