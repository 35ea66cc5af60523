// SPDX-License-Identifier: Apache-2.0
#include "serve/error.h"

#include "base/json.h"

namespace sgl {
namespace {

std::string NativeError(std::string_view message) {
  std::string out = R"({"error":{"message":)";
  AppendJsonString(out, message);
  return out += "}}";
}

std::string_view StatusName(int status) {
  switch (status) {
    case 400: return "BAD_REQUEST";
    case 401: return "UNAUTHORIZED";
    case 403: return "FORBIDDEN";
    case 404: return "NOT_FOUND";
    case 413: return "REQUEST_ENTITY_TOO_LARGE";
    case 501: return "NOT_IMPLEMENTED";
    case 503: return "SERVICE_UNAVAILABLE";
    default: return "INTERNAL_SERVER_ERROR";
  }
}

std::string ResponsesError(int status, std::string_view message) {
  Json inside;
  inside.Set("message", message).Set("type", status == 400 ? "invalid_request_error" : StatusName(status));
  return DumpJson(Json().Set("error", inside.Set("param", Json()).Set("code", status)));
}

std::string AnthropicError(int status, std::string_view message) {
  const char* type = "api_error";
  switch (status) {
    case 400: type = "invalid_request_error"; break;
    case 401: type = "authentication_error"; break;
    case 403: type = "permission_error"; break;
    case 404: type = "not_found_error"; break;
    case 413: type = "request_too_large"; break;
    case 503: type = "overloaded_error"; break;
    default: break;
  }
  return DumpJson(Json().Set("type", "error").Set("error", Json().Set("type", type).Set("message", message)));
}

std::string OllamaError(std::string_view message) { return DumpJson(Json().Set("error", message)); }

ErrorReply OpenAiReply(int status, std::string_view message, std::string_view bad_value_type) {
  switch (status) {
    case 400: return {400, ErrorObject(400, bad_value_type, message)};
    case 500: return {500, ErrorObject(500, "InternalServerError", "Internal server error: " + std::string(message))};
    case 501: return {501, ErrorObject(501, "NotImplementedError", message)};
    default: return HttpErrorReply(status, message);
  }
}

}  // namespace

int HttpStatus(Code code) {
  switch (code) {
    case Code::kInvalidArgument: return 400;
    case Code::kUnauthorized: return 401;
    case Code::kNotFound: return 404;
    case Code::kTooLarge: return 413;
    case Code::kExhausted:
    case Code::kUnavailable: return 503;
    case Code::kUnimplemented: return 501;
    case Code::kInternal: break;
  }
  return 500;
}

std::string ErrorObject(int status, std::string_view type, std::string_view message) {
  std::string out = R"({"object":"error","message":)";
  AppendJsonString(out, message);
  out += R"(,"type":)";
  AppendJsonString(out, type);
  out += R"(,"param":null,"code":)";
  AppendJsonNumber(out, int64_t{status});
  return out += '}';
}

ErrorReply HttpErrorReply(int status, std::string_view message) { return {status, ErrorObject(status, std::to_string(status), message)}; }

ErrorReply SchemaErrorReply(std::string_view message) { return {400, ErrorObject(400, "Bad Request", message)}; }

ErrorReply FromStatus(int status, std::string_view message, ErrorStyle style, std::string_view bad_value_type) {
  switch (style) {
    case ErrorStyle::kNative: return status == 400 ? ErrorReply{400, NativeError(message)} : HttpErrorReply(status, message);
    case ErrorStyle::kOpenAi: return OpenAiReply(status, message, bad_value_type);
    case ErrorStyle::kResponses: return {status, ResponsesError(status, message)};
    case ErrorStyle::kAnthropic: return {status, AnthropicError(status, message)};
    case ErrorStyle::kOllama: return {status, OllamaError(message)};
  }
  return HttpErrorReply(status, message);
}

ErrorReply FromError(const Error& error, ErrorStyle style, std::string_view bad_value_type) {
  return FromStatus(HttpStatus(error.code), error.message, style, bad_value_type);
}

std::optional<ErrorReply> FromFinish(const Finish& finish, ErrorStyle style) {
  if (finish.kind != FinishKind::kAbort) return {};
  // Messages have no word for an answer that somebody aborted. 400: clients would try a 5xx again.
  if (finish.status_code == 0 && style == ErrorStyle::kAnthropic) return FromStatus(400, finish.message, style, "");
  if (finish.status_code == 0) return {};
  if (style == ErrorStyle::kOpenAi && finish.status_code != 400) return HttpErrorReply(finish.status_code, finish.message);
  return FromStatus(finish.status_code, finish.message, style, "BadRequestError");
}

std::string StreamError(const Error& error, ErrorStyle style) {
  const int status = HttpStatus(error.code);
  if (style == ErrorStyle::kNative) return NativeError(error.message);
  if (style != ErrorStyle::kOpenAi) return FromStatus(status, error.message, style, "").body;
  return R"({"error":)" + ErrorObject(status, StatusName(status), error.message) + '}';
}

std::string StreamError(const Finish& finish, ErrorStyle style) {
  if (style != ErrorStyle::kOpenAi && style != ErrorStyle::kNative) {
    const std::optional<ErrorReply> reply = FromFinish(finish, style);
    return reply ? reply->body : "";
  }
  return R"({"error":)" + ErrorObject(finish.status_code, StatusName(finish.status_code), finish.message) + '}';
}

}  // namespace sgl
