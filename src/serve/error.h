// The one place where errors become HTTP: status, body, and which of the API's four shapes.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sched/request.h"

namespace sgl {

// Whose errors: native endpoints say {"error":{"message":M}} for a bad value, OpenAI ones {"object":"error","message":M,"type":T,...}.
// Whatever is not about a value (503, 404, 500...) has the second form on both. The other APIs have forms of their own:
// kResponses {"error":{"message","type","param","code"}}, kAnthropic {"type":"error","error":{"type","message"}}, kOllama {"error":M}.
enum class ErrorStyle { kNative, kOpenAi, kResponses, kAnthropic, kOllama };

struct ErrorReply {
  int status = 500;
  std::string body;
};

int HttpStatus(Code code);

// {"object":"error","message":M,"type":T,"param":null,"code":C}
std::string ErrorObject(int status, std::string_view type, std::string_view message);
// Type is the status as text: what the framework itself says (404, 405, 503).
ErrorReply HttpErrorReply(int status, std::string_view message);
// The body is not JSON or a field has the wrong type. Always 400, in the framework's form.
ErrorReply SchemaErrorReply(std::string_view message);
ErrorReply FromStatus(int status, std::string_view message, ErrorStyle style, std::string_view bad_value_type = "BadRequestError");
// `bad_value_type`: the type of 400s in OpenAI style: "BadRequestError", or "BadRequest" while a request is converted into a prompt.
ErrorReply FromError(const Error& error, ErrorStyle style, std::string_view bad_value_type = "BadRequestError");
// What a request that was aborted with a status becomes before anything was sent. Nothing: the finish is an ordinary reply (HTTP 200).
std::optional<ErrorReply> FromFinish(const Finish& finish, ErrorStyle style);

// The JSON of the event that reports an error once a stream has begun. OpenAI style: T is the status' name, "SERVICE_UNAVAILABLE".
std::string StreamError(const Error& error, ErrorStyle style);
std::string StreamError(const Finish& finish, ErrorStyle style);  // precondition: status_code != 0

}  // namespace sgl
