// Result<T>: a value or an Error, for everything that can go wrong in a correct program.
// Same shape as std::expected (C++23), which gcc 12 has only in C++23 mode.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace sgl {

enum class Code {
  kInvalidArgument,  // the caller sent something wrong                    -> HTTP 400
  kUnauthorized,     // missing or wrong key                               -> 401
  kNotFound,         // no such route, model, file                         -> 404
  kTooLarge,         // over a stated size limit                           -> 413
  kExhausted,        // a bounded queue is full                            -> 503
  kUnavailable,      // starting, shutting down                            -> 503
  kUnimplemented,    // a known feature that this build does not have      -> 501
  kInternal,         // a library or the system failed                     -> 500
};

struct Error {
  Code code = Code::kInternal;
  std::string message;

  // The same error with `where` in front: "model.safetensors: header is truncated".
  Error In(const std::string& where) && { return {code, where + ": " + std::move(message)}; }
};

inline Error InvalidArgument(std::string message) { return {Code::kInvalidArgument, std::move(message)}; }
inline Error NotFound(std::string message) { return {Code::kNotFound, std::move(message)}; }
inline Error Unimplemented(std::string message) { return {Code::kUnimplemented, std::move(message)}; }
inline Error Internal(std::string message) { return {Code::kInternal, std::move(message)}; }

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit by design
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit by design

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  // Precondition: ok().
  T& operator*() & { return *std::get_if<0>(&state_); }
  const T& operator*() const& { return *std::get_if<0>(&state_); }
  T&& operator*() && { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() { return std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }
  // Precondition: !ok().
  const Error& error() const& { return *std::get_if<1>(&state_); }
  Error&& error() && { return std::move(*std::get_if<1>(&state_)); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit by design
  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const& { return *error_; }
  Error&& error() && { return std::move(*error_); }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

}  // namespace sgl

#define SGL_CONCAT_(a, b) a##b
#define SGL_CONCAT(a, b) SGL_CONCAT_(a, b)
// TRY(Config config, ReadConfig(path)): declares and fills `config`, or returns the Error to our caller.
#define TRY(declaration, ...)                                                                       \
  auto SGL_CONCAT(result_, __LINE__) = (__VA_ARGS__);                                               \
  if (!SGL_CONCAT(result_, __LINE__).ok()) return std::move(SGL_CONCAT(result_, __LINE__)).error(); \
  declaration = *std::move(SGL_CONCAT(result_, __LINE__))
// TRY_STATUS(Check(x)): returns the Error to our caller, if there is one.
#define TRY_STATUS(...)                                           \
  do {                                                            \
    auto try_status_ = (__VA_ARGS__);                             \
    if (!try_status_.ok()) return std::move(try_status_).error(); \
  } while (false)
