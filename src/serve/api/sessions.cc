// POST /open_session and /close_session: conversations whose requests build on each other, see SessionParams.
// SPDX-License-Identifier: Apache-2.0
#include <optional>
#include <utility>

#include "base/json.h"
#include "serve/api/handlers.h"
#include "serve/json_reader.h"
#include "serve/reply.h"

namespace sgl {
namespace {

void ReadFields(JsonReader& field, OpenSession& open) {
  field.Required("capacity_of_str_len", open.capacity_of_str_len)("session_id", open.session_id);
  field("streaming", open.streaming)("timeout", open.timeout_s);
}
void ReadFields(JsonReader& field, CloseSession& close) { field.Required("session_id", close.session_id); }

}  // namespace

void DescribeOpenSession(JsonReader& field) {
  OpenSession open;
  ReadFields(field, open);
}
void DescribeCloseSession(JsonReader& field) {
  CloseSession close;
  ReadFields(field, close);
}

void HandleOpenSession(ApiContext& context, const Exchange& exchange) {
  const Result<Json> json = ReadBody(exchange->request().body);
  if (!json.ok()) return SendError(*exchange, SchemaErrorReply(json.error().message));
  OpenSession open;
  JsonReader field(*json);
  ReadFields(field, open);
  if (const Status status = field.status(); !status.ok()) return SendError(*exchange, SchemaErrorReply(status.error().message));
  context.backend.Control(std::move(open), [exchange](const Result<std::string>& id) {
    if (!id.ok()) return SendError(*exchange, FromError(id.error(), ErrorStyle::kNative));
    std::string quoted;
    AppendJsonString(quoted, *id);
    SendJson(*exchange, 200, std::move(quoted));
  });
}

void HandleCloseSession(ApiContext& context, const Exchange& exchange) {
  const Result<Json> json = ReadBody(exchange->request().body);
  if (!json.ok()) return SendError(*exchange, SchemaErrorReply(json.error().message));
  CloseSession close;
  JsonReader field(*json);
  ReadFields(field, close);
  if (const Status status = field.status(); !status.ok()) return SendError(*exchange, SchemaErrorReply(status.error().message));
  context.backend.Control(std::move(close), [exchange](const Result<std::string>&) { SendEmpty(*exchange, 200); });
}

}  // namespace sgl
