// Sends the requests of a dump (POST /configure_logging, dump_requests_folder) to a server again, in their rhythm.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <thread>

#include "app/client_tls.h"
#include "app/commands.h"
#include "serve/http_client.h"

namespace sgl {
namespace {

using Clock = std::chrono::steady_clock;

struct ReplayOptions {
  std::string url = "http://127.0.0.1:30000", api_key;
  std::vector<std::string> files;
  double speed = 1;
  int concurrency = 64;
  bool ignore_eos = false;
  ClientTlsOptions tls;

  void Visit(Options& field) {
    field.Group("Options");
    field("url", url, "the server");
    field("api-key", api_key, "bearer token", OptionTrait::kSecret, OptionTrait::kZeroIsUnset);
    field("speed", speed, "2: twice as fast as it was; 0: all at once", Range{0, 1e6});
    field("concurrency", concurrency, "requests in flight at most", Range{1, 4096});
    field("ignore-eos", ignore_eos, "generate as many tokens as were recorded, whatever they are");
    tls.Visit(field);
    field.Positional("files", files, "the dump's files, JSON lines");
  }
};

struct Recorded {
  Json request, out;
  double created = 0;
};

Result<std::vector<Recorded>> ReadDump(const std::vector<std::string>& files) {
  std::vector<Recorded> out;
  for (const std::string& file : files) {
    std::ifstream in(file);
    if (!in) return NotFound(file + ": cannot be read");
    int64_t number = 0;
    for (std::string line; std::getline(in, line);) {
      ++number;
      if (line.empty()) continue;
      Result<Json> json = ParseJson(line);
      if (!json.ok()) return std::move(json).error().In(fmt::format("{}:{}", file, number));
      if (json->find("server_args") != nullptr) continue;
      if (!(*json)["request"].is_object()) return InvalidArgument(fmt::format("{}:{}: no member 'request'", file, number));
      out.push_back({(*json)["request"], (*json)["out"], json->get_double("created", 0)});
    }
  }
  std::stable_sort(out.begin(), out.end(), [](const Recorded& a, const Recorded& b) { return a.created < b.created; });
  return out;
}

// As it was recorded, but under a new name, with its ids rather than its text, and in one piece.
Json Body(const Recorded& recorded, bool ignore_eos) {
  Json body = recorded.request;
  body.Set("rid", Json()).Set("stream", false);
  if (!body["input_ids"].is_null()) body.Set("text", Json());
  if (!ignore_eos) return body;
  Json sampling = body["sampling_params"];
  sampling.Set("ignore_eos", true);
  const int64_t tokens = recorded.out["meta_info"].get_int("completion_tokens", 0);
  if (tokens > 0) sampling.Set("max_new_tokens", tokens);
  return body.Set("sampling_params", std::move(sampling));
}

struct Tally {
  std::atomic<int64_t> answered{0}, failed{0}, same{0}, tokens{0};
  std::mutex mutex;  // the first failure is told
  std::string failure;
};

void ReplayOne(const ReplayOptions& options, const HttpUrl& url, const HttpClientConfig& config, const Recorded& recorded, Tally& tally) {
  HttpHeaders headers = {{"content-type", "application/json"}};
  if (!options.api_key.empty()) headers.emplace_back("authorization", "Bearer " + options.api_key);
  HttpClient client(url.host, url.port, config);
  const Result<HttpReplyData> reply = client.Request("POST", "/generate", headers, DumpJson(Body(recorded, options.ignore_eos)));
  const Result<Json> json = reply.ok() ? ParseJson(reply->body) : Result<Json>(reply.error());
  if (!json.ok() || reply->status != 200) {
    ++tally.failed;
    std::lock_guard lock(tally.mutex);
    if (tally.failure.empty()) tally.failure = reply.ok() ? fmt::format("HTTP {}: {}", reply->status, reply->body) : reply.error().message;
    return;
  }
  ++tally.answered;
  tally.tokens += (*json)["meta_info"].get_int("completion_tokens", 0);
  if ((*json)["output_ids"] == recorded.out["output_ids"]) ++tally.same;
}

int Replay(const ReplayOptions& options, const HttpUrl& url, const HttpClientConfig& config, const std::vector<Recorded>& requests) {
  Tally tally;
  std::atomic<size_t> next{0};
  const Clock::time_point begin = Clock::now();
  std::vector<std::thread> threads;
  for (int t = 0; t < std::min<int>(options.concurrency, static_cast<int>(requests.size())); ++t)
    threads.emplace_back([&] {
      for (size_t i; (i = next.fetch_add(1)) < requests.size();) {
        const double due = options.speed > 0 ? (requests[i].created - requests.front().created) / options.speed : 0;
        std::this_thread::sleep_until(begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(due)));
        ReplayOne(options, url, config, requests[i], tally);
      }
    });
  for (std::thread& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  fmt::print("{} requests, {} answered, {} with the recorded tokens, {} failed; {} output tokens in {:.2f} s\n", requests.size(),
             tally.answered.load(), tally.same.load(), tally.failed.load(), tally.tokens.load(), seconds);
  if (tally.failed == 0) return 0;
  return Fail("replay", "the first failure: " + tally.failure);
}

}  // namespace

int RunReplay(const Arguments& arguments) {
  ReplayOptions config;
  Options options("sglang replay", "Sends recorded requests to a server again and compares the answers.");
  config.Visit(options);
  std::vector<std::string> warnings;
  if (const auto done = ParseCommandLine("replay", options, arguments, warnings)) return *done;
  LogWarnings(warnings);
  const Result<HttpUrl> url = ParseHttpUrl(config.url, true);
  if (!url.ok()) return Fail("replay", "argument --url: " + url.error().message, 2);
  const Result<HttpClientConfig> client = config.tls.For(*url);
  if (!client.ok()) return Fail("replay", "argument --cacert: " + client.error().message, 2);
  const Result<std::vector<Recorded>> requests = ReadDump(config.files);
  if (!requests.ok()) return Fail("replay", requests.error().message);
  if (requests->empty()) return Fail("replay", "there is no request in the files given", 2);
  return Replay(config, *url, *client, *requests);
}

}  // namespace sgl
