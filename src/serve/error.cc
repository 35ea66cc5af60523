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

ErrorReply FromError(const Error& error, ErrorStyle style, std::string_view bad_value_type) {
  const int status = HttpStatus(error.code);
  if (style == ErrorStyle::kOpenAi) return OpenAiReply(status, error.message, bad_value_type);
  if (status == 400) return {400, NativeError(error.message)};
  return HttpErrorReply(status, error.message);
}

std::optional<ErrorReply> FromFinish(const Finish& finish, ErrorStyle style) {
  if (finish.kind != FinishKind::kAbort || finish.status_code == 0) return {};
  if (finish.status_code == 400) {
    if (style == ErrorStyle::kNative) return ErrorReply{400, NativeError(finish.message)};
    return ErrorReply{400, ErrorObject(400, "BadRequestError", finish.message)};
  }
  return HttpErrorReply(finish.status_code, finish.message);
}

std::string StreamError(const Error& error, ErrorStyle style) {
  if (style == ErrorStyle::kNative) return NativeError(error.message);
  const int status = HttpStatus(error.code);
  return R"({"error":)" + ErrorObject(status, StatusName(status), error.message) + '}';
}

std::string StreamError(const Finish& finish) {
  return R"({"error":)" + ErrorObject(finish.status_code, StatusName(finish.status_code), finish.message) + '}';
}

}  // namespace sgl
