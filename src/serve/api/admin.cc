// Operations on a running server: the cache, and other people's requests.
// SPDX-License-Identifier: Apache-2.0
#include <charconv>

#include "obs/log.h"
#include "serve/api/handlers.h"
#include "serve/json_reader.h"
#include "serve/reply.h"

namespace sgl {
namespace {

constexpr double kMaxFlushWaitSeconds = 86400.0;

// Seconds from the query, >= 0; 0 when not there.
Result<std::chrono::milliseconds> ReadTimeout(std::string_view query) {
  std::string text;
  if (!FindQuery(query, "timeout", text)) return std::chrono::milliseconds(0);
  double seconds = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size() || !(seconds >= 0))
    return InvalidArgument("query.timeout: expected a number >= 0, got '" + text + "'");
  return std::chrono::milliseconds(static_cast<int64_t>(std::min(seconds, kMaxFlushWaitSeconds) * 1000));
}

struct AbortBody {
  std::string rid;
  bool abort_all = false;
  bool prefix = false;  // every rid that begins like `rid`
};

void ReadAbortFields(JsonReader& field, AbortBody& body) { field("rid", body.rid)("abort_all", body.abort_all)("prefix", body.prefix); }

}  // namespace

void DescribeAbortRequest(JsonReader& field) {
  AbortBody body;
  ReadAbortFields(field, body);
}

void DescribeConfigureLogging(JsonReader& field) { LoggingChanges().Read(field); }

void HandleConfigureLogging(ApiContext& context, const Exchange& exchange) {
  const std::string& body = exchange->request().body;
  const Result<Json> json = body.empty() ? Result<Json>(Json(Json::Object{})) : ParseJson(body);
  if (!json.ok()) return SendError(*exchange, SchemaErrorReply("Invalid JSON: " + json.error().message));
  if (const Status status = context.journal.Configure(*json); !status.ok())
    return SendError(*exchange, SchemaErrorReply(status.error().message));
  SendEmpty(*exchange, 200);
}

void HandleSetTraceLevel(ApiContext& context, const Exchange& exchange) {
  std::string text;
  FindQuery(exchange->request().query, "level", text);
  int level = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), level);
  if (error != std::errc() || end != text.data() + text.size() || level < 0)
    return SendError(*exchange, SchemaErrorReply("query.level: expected a number >= 0, got '" + text + "'"));
  context.spans.SetLevel(level);
  SendText(*exchange, 200, "success");
}

void HandleFlushCache(ApiContext& context, const Exchange& exchange) {
  const Result<std::chrono::milliseconds> timeout = ReadTimeout(exchange->request().query);
  if (!timeout.ok()) return SendError(*exchange, SchemaErrorReply(timeout.error().message));
  context.backend.FlushCache(*timeout, [exchange](bool flushed) {
    if (flushed)
      SendText(*exchange, 200,
               "Cache flushed.\nPlease check backend logs for more details. (When there are running or waiting requests, "
               "the operation will not be performed.)\n");
    else
      SendText(*exchange, 400, "Cache not flushed: requests are running or waiting, or another flush is under way.\n");
  });
}

void HandleAbortRequest(ApiContext& context, const Exchange& exchange) {
  const std::string& body = exchange->request().body;
  const Result<Json> json = body.empty() ? Result<Json>(Json(Json::Object{})) : ParseJson(body);
  if (!json.ok()) return SendError(*exchange, SchemaErrorReply("Invalid JSON: " + json.error().message));
  AbortBody asked;
  JsonReader field(*json);
  ReadAbortFields(field, asked);
  if (!field.status().ok()) return SendError(*exchange, SchemaErrorReply(field.status().error().message));
  const auto& [rid, abort_all, prefix] = asked;
  if (abort_all) {
    LOG_INFO("Abort of all requests asked for");
    context.probe->aborted_requests.Add();
    context.backend.AbortAll();
  } else if (prefix && !rid.empty()) {
    LOG_INFO("Abort of requests {}... asked for", rid);
    context.probe->aborted_requests.Add();
    context.backend.Control(AbortByPrefix{rid}, [](const Result<std::string>&) {});
  } else if (!rid.empty()) {
    LOG_INFO("Abort of request {} asked for", rid);
    context.probe->aborted_requests.Add();
    context.backend.AbortRid(rid);
  }
  SendEmpty(*exchange, 200);
}

}  // namespace sgl
