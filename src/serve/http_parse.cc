// Beast's basic_parser with our limits, filling an HttpRequest.
// SPDX-License-Identifier: Apache-2.0
#include "serve/http_parse.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <cctype>
#include <limits>
#include <optional>
#include <utility>

namespace sgl {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;
using BeastView = boost::beast::string_view;

// A body is reserved in full only once this much of it has really come: a header alone cannot make us allocate.
constexpr size_t kTrustedBodyBytes = 1 << 20;

std::string Lower(BeastView text) {
  std::string out(text.data(), text.size());
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

// Origin form, absolute form ("http://host/path") or "*". False for anything else.
bool SplitTarget(std::string_view target, HttpRequest& request) {
  for (std::string_view scheme : {"http://", "https://"}) {
    if (target.substr(0, scheme.size()) != scheme) continue;
    const size_t path = target.find_first_of("/?", scheme.size());
    target = path == std::string_view::npos ? "/" : target.substr(path);
    break;
  }
  target = target.substr(0, target.find('#'));
  if (target.empty() || (target[0] != '/' && target[0] != '?' && target != "*")) return false;
  const size_t mark = target.find('?');
  request.path = target.substr(0, mark);
  if (request.path.empty()) request.path = "/";
  if (mark != std::string_view::npos) request.query = target.substr(mark + 1);
  return true;
}

}  // namespace

// The callbacks of Beast's parser. A callback that wants another answer than 400 sets `status` and `message` and any error code.
class HttpRequestParser::Machine : public http::basic_parser<true> {
 public:
  explicit Machine(const HttpLimits& limits) : max_header_bytes_(static_cast<size_t>(limits.max_header_bytes)) {
    eager(true);
    body_limit(static_cast<uint64_t>(limits.max_body_bytes));
    header_limit(static_cast<uint32_t>(std::min<int64_t>(limits.max_header_bytes, std::numeric_limits<uint32_t>::max() / 2)));
  }

  HttpRequest request;
  int version = 11;
  bool expects = false;
  bool body_begun = false;
  int status = 0;
  std::string message;

 private:
  void Refuse(int with_status, std::string why, error_code& ec) {
    status = with_status;
    message = std::move(why);
    ec = http::error::bad_value;
  }

  void on_request_impl(http::verb, BeastView method, BeastView target, int http_version, error_code& ec) override {
    request.method.assign(method.data(), method.size());
    version = http_version;
    header_bytes_ = method.size() + target.size() + 12;
    if (!SplitTarget({target.data(), target.size()}, request)) Refuse(400, "bad request target", ec);
  }

  // Also called for trailers, which we check and then forget: they must not pass for headers.
  void on_field_impl(http::field name, BeastView name_text, BeastView value, error_code& ec) override {
    header_bytes_ += name_text.size() + value.size() + 4;
    // Beast bounds what it holds at once, not the sum over several reads.
    if (header_bytes_ > max_header_bytes_) {
      ec = http::error::header_limit;
      return;
    }
    if (header_done_) return;
    if (name == http::field::transfer_encoding) {
      const bool plain_chunked = Lower(value) == "chunked";
      if (version < 11) return Refuse(400, "Transfer-Encoding in an HTTP/1.0 request", ec);
      if (!plain_chunked) return Refuse(501, "only the transfer coding 'chunked' is supported", ec);
    }
    if (name == http::field::expect && version >= 11) {
      if (Lower(value) != "100-continue") return Refuse(417, "unknown expectation", ec);
      expects = true;
    }
    request.headers.emplace_back(Lower(name_text), std::string(value.data(), value.size()));
  }

  void on_header_impl(error_code&) override { header_done_ = true; }
  void on_body_init_impl(const boost::optional<uint64_t>& content_length, error_code&) override {
    if (content_length) {
      declared_ = static_cast<size_t>(*content_length);
      request.body.reserve(std::min(declared_, kTrustedBodyBytes));
    }
  }
  size_t on_body_impl(BeastView data, error_code&) override {
    Append(data);
    return data.size();
  }
  void on_chunk_header_impl(uint64_t, BeastView, error_code&) override { body_begun = true; }
  size_t on_chunk_body_impl(uint64_t, BeastView data, error_code&) override {
    Append(data);
    return data.size();
  }
  void on_finish_impl(error_code&) override {}
  void on_response_impl(int, BeastView, int, error_code&) override {}  // requests only

  void Append(BeastView data) {
    body_begun = true;
    std::string& body = request.body;
    if (body.size() + data.size() > body.capacity() && body.size() + data.size() <= declared_) body.reserve(declared_);
    body.append(data.data(), data.size());
  }

  const size_t max_header_bytes_;
  size_t header_bytes_ = 0;
  size_t declared_ = 0;
  bool header_done_ = false;
};

HttpRequestParser::HttpRequestParser(HttpLimits limits) : limits_(limits) { Reset(); }
HttpRequestParser::~HttpRequestParser() = default;

void HttpRequestParser::Reset() {
  machine_ = std::make_unique<Machine>(limits_);
  state_ = State::kEmpty;
}

void HttpRequestParser::Fail(int status, std::string message) {
  state_ = State::kError;
  error_status_ = status;
  error_message_ = std::move(message);
}

size_t HttpRequestParser::Parse(std::string_view bytes) {
  size_t used = 0;
  if (state_ == State::kEmpty) {
    // Blank lines before a request are allowed. RFC 9112, 2.2.
    while (used < bytes.size() && (bytes[used] == '\r' || bytes[used] == '\n')) ++used;
    if (used == bytes.size()) return used;
    // A TLS hello, or other binary noise: do not wait for the end of a header that will not come.
    if (std::isalnum(static_cast<unsigned char>(bytes[used])) == 0) {
      Fail(400, "this is not HTTP/1");
      return used;
    }
    state_ = State::kHeader;
  }
  if (state_ == State::kDone || state_ == State::kError || used == bytes.size()) return used;

  error_code ec;
  used += machine_->put(boost::asio::const_buffer(bytes.data() + used, bytes.size() - used), ec);
  if (!ec || ec == http::error::need_more) {
    Judge(bytes.size() - used);
  } else if (machine_->status != 0) {
    Fail(machine_->status, machine_->message);
  } else if (ec == http::error::body_limit) {
    Fail(413, "the request body is larger than the limit of " + std::to_string(limits_.max_body_bytes) + " bytes");
  } else if (ec == http::error::header_limit) {
    Fail(431, "the request header is larger than the limit of " + std::to_string(limits_.max_header_bytes) + " bytes");
  } else {
    Fail(400, "malformed HTTP request: " + ec.message());
  }
  return used;
}

void HttpRequestParser::Judge(size_t unused_bytes) {
  if (machine_->is_done()) {
    state_ = State::kDone;
    return;
  }
  if (machine_->is_header_done()) state_ = State::kBody;
  if (unused_bytes <= static_cast<size_t>(limits_.max_header_bytes)) return;
  // Unused bytes are one unfinished line or block of fields: a header, a chunk line with extensions, or trailers.
  if (state_ == State::kHeader) {
    Fail(431, "the request header is larger than the limit of " + std::to_string(limits_.max_header_bytes) + " bytes");
  } else {
    Fail(400, "malformed HTTP request: a chunk header or trailer is too long");
  }
}

bool HttpRequestParser::http10() const { return machine_->version < 11; }
bool HttpRequestParser::keep_alive() const { return machine_->keep_alive(); }
bool HttpRequestParser::expects_continue() const { return state_ == State::kBody && machine_->expects && !machine_->body_begun; }
HttpRequest HttpRequestParser::TakeRequest() { return std::move(machine_->request); }

}  // namespace sgl
