// Arbitrary bytes as the body of every endpoint that parses one. The first byte picks the endpoint; accepted requests are then run.
// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <cstdlib>

#include "serve/fakes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr const char* kPaths[] = {"/generate", "/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize", "/abort_request"};
  if (size == 0) return 0;
  const std::string body(reinterpret_cast<const char*>(data) + 1, size - 1);
  sgl::FakeServer server({}, (data[0] & 0x80) != 0);
  const auto exchange = server.Post(kPaths[(data[0] & 0x7F) % 6], body);
  for (size_t i = 0; i < server.backend.accepted.size(); ++i) {
    const sgl::GenerateRequest& request = server.backend.accepted[i].request;
    if (request.prompt.empty()) abort();
    for (const sgl::TokenId id : request.prompt)
      if (id < 0 || id >= server.backend.info_.vocab_size) abort();
    sgl::TokenDelta delta;
    delta.tokens = {65};
    delta.text = "A";
    delta.finish.emplace();
    server.Say(i, std::move(delta));
  }
  if (exchange->replies != 1) abort();  // exactly one reply, whatever came
  if (exchange->streaming && !exchange->ended) abort();
  if (exchange->status >= 500 && exchange->status != 503) abort();  // a body is never our fault
  return 0;
}
