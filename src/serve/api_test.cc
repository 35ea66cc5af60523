// Exchanges that take more than one request: conversations that go on, answers in the background. And answers with calls in them.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "obs/log.h"
#include "serve/fakes.h"
#include "serve/response_store.h"

namespace sgl {
namespace {

void Finish(FakeServer& server, size_t index, std::string text) {
  TokenDelta delta;
  delta.tokens = {65};
  delta.text = std::move(text);
  delta.finish.emplace();
  server.Say(index, std::move(delta));
}

std::string PromptOf(const FakeServer& server, size_t index) {
  return ByteTokenizer().Decode(server.backend.accepted[index].request.prompt, false);
}

Json Body(const FakeExchange& exchange) {
  Result<Json> json = ParseJson(exchange.body);
  return json.ok() ? *std::move(json) : Json();
}

// Long prompts that begin like earlier ones cost only what is new: no route tokenises a prompt behind the cache's back.
TEST(Prompts, EveryRouteUsesTheCacheOfPrompts) {
  ApiConfig config;
  config.is_embedding = true;
  const std::string text(1500, 'x');
  const std::pair<const char*, std::string> cases[] = {
      {"/generate", R"({"text":"%"})"},
      {"/v1/completions", R"({"prompt":"%"})"},
      {"/v1/chat/completions", R"({"messages":[{"role":"user","content":"%"}]})"},
      {"/v1/score", R"({"query":"%","items":["a"],"label_token_ids":[1]})"},
      {"/v1/embeddings", R"({"input":"%"})"},
      {"/encode", R"({"text":"%"})"},
      {"/api/embed", R"({"input":"%"})"},
      {"/api/generate", R"({"model":"m","prompt":"%","raw":true})"},
      {"/tokenize", R"({"prompt":"%"})"},
  };
  for (const auto& [path, body] : cases) {
    FakeServer server(config);
    std::string filled = body;
    const auto exchange = server.Post(path, filled.replace(body.find('%'), 1, text));
    EXPECT_NE(exchange->status, 400) << path << exchange->body;
    EXPECT_GE(server.context().prompt_encoder->stats().encoded_bytes, text.size()) << path;
  }
}

// With --allow-auto-truncate a prompt that is too long loses its end, whoever asks. (Not for /v1/rerank: there the end is the question.)
TEST(Prompts, AreCutWhereTheServerMay) {
  const std::pair<const char*, std::string> cases[] = {
      {"/generate", R"({"text":"%"})"},
      {"/v1/completions", R"({"prompt":"%"})"},
      {"/v1/embeddings", R"({"input":"%"})"},
      {"/encode", R"({"text":"%"})"},
      {"/api/generate", R"({"model":"m","prompt":"%","raw":true})"},
      {"/api/embed", R"({"input":"%"})"},
      {"/v1/score", R"({"query":"%","items":["a"],"label_token_ids":[1]})"},
  };
  for (const auto& [path, body] : cases) {
    std::string filled = body;
    filled.replace(body.find('%'), 1, std::string(3000, 'x'));
    ApiConfig config;
    config.is_embedding = true;
    EXPECT_EQ(FakeServer(config).Post(path, filled)->status, 400) << path;
    config.auto_truncate = true;
    FakeServer server(config);
    server.Post(path, filled);
    ASSERT_EQ(server.backend.accepted.size(), 1U) << path;
    EXPECT_EQ(server.backend.accepted[0].request.prompt.size(), 1994U) << path;
  }
}

TEST(Responses, GoOnFromAStoredAnswer) {
  FakeServer server;
  const auto first = server.Post("/v1/responses", R"({"input":"one","instructions":"be brief","request_id":"a"})");
  Finish(server, 0, "two");
  EXPECT_EQ(first->status, 200);
  const auto second = server.Post("/v1/responses", R"({"input":"three","previous_response_id":"a","request_id":"b"})");
  Finish(server, 1, "four");
  EXPECT_EQ(Body(*second)["previous_response_id"], Json("a"));
  const std::string prompt = PromptOf(server, 1);  // instructions do not carry over
  EXPECT_NE(prompt.find("\n{\"role\":\"user\",\"content\":\"one\"}\n{\"role\":\"assistant\",\"content\":\"two\"}\n"
                        "{\"role\":\"user\",\"content\":\"three\"}"),
            std::string::npos)
      << prompt;
  EXPECT_EQ(prompt.find("be brief"), std::string::npos);
  EXPECT_EQ(server.Get("/v1/responses/b")->body, second->body);
}

TEST(Responses, WhatIsNotStoredIsGone) {
  FakeServer server;
  server.Post("/v1/responses", R"({"input":"one","request_id":"a","store":false})");
  Finish(server, 0, "two");
  EXPECT_EQ(server.Get("/v1/responses/a")->status, 404);
  server.Post("/v1/responses", R"({"input":"one","request_id":"b"})");
  Finish(server, 1, "two");
  EXPECT_EQ(server.Get("/v1/responses/b")->status, 200);
  EXPECT_EQ(Body(*server.Handle({"DELETE", "/v1/responses/b", "", {}, ""}))["deleted"], Json(true));
  EXPECT_EQ(server.Get("/v1/responses/b")->status, 404);
}

TEST(Responses, InTheBackground) {
  FakeServer server;
  const auto asked = server.Post("/v1/responses", R"({"input":"one","request_id":"a","background":true})");
  EXPECT_EQ(Body(*asked)["status"], Json("in_progress"));
  EXPECT_EQ(Body(*server.Get("/v1/responses/a"))["status"], Json("in_progress"));
  EXPECT_EQ(server.Post("/v1/responses", R"({"input":"x","previous_response_id":"a"})")->status, 400);
  Finish(server, 0, "two");
  const Json done = Body(*server.Get("/v1/responses/a"));
  EXPECT_EQ(done["status"], Json("completed"));
  EXPECT_EQ(done["output"].as_array()[0]["content"].as_array()[0]["text"], Json("two"));
}

TEST(Responses, CancelIsForTheBackgroundOnly) {
  FakeServer server;
  server.Post("/v1/responses", R"({"input":"one","request_id":"a","background":true})");
  EXPECT_EQ(Body(*server.Post("/v1/responses/a/cancel", ""))["status"], Json("cancelled"));
  EXPECT_EQ(server.backend.aborted_rids, (std::vector<std::string>{"a"}));
  TokenDelta aborted;
  aborted.finish = sgl::Finish::Abort("Aborted");
  server.Say(0, std::move(aborted));
  EXPECT_EQ(Body(*server.Get("/v1/responses/a"))["status"], Json("cancelled"));
  server.Post("/v1/responses", R"({"input":"one","request_id":"b"})");
  Finish(server, 1, "x");
  EXPECT_EQ(server.Post("/v1/responses/b/cancel", "")->status, 400);
}

TEST(Responses, AFailureInTheBackgroundIsTold) {
  FakeServer server;
  server.Post("/v1/responses", R"({"input":"one","request_id":"a","background":true})");
  TokenDelta failed;
  failed.finish = sgl::Finish::Abort("Request running timeout reached.", 503);
  server.Say(0, std::move(failed));
  const Json response = Body(*server.Get("/v1/responses/a"));
  EXPECT_EQ(response["status"], Json("failed"));
  EXPECT_EQ(response["error"]["message"], Json("Request running timeout reached."));
}

TEST(ResponseStore, IsBounded) {
  ResponseStore store(3, 1000);
  for (int i = 0; i < 5; ++i) store.Put(std::to_string(i), {Json(i), Json(Json::Array{}), false, false, 0});
  EXPECT_FALSE(store.Get("1"));
  EXPECT_TRUE(store.Get("2"));
  EXPECT_TRUE(store.Get("4"));
  store.Put("big", {Json(std::string(999, 'x')), Json(Json::Array{}), false, false, 0});
  EXPECT_FALSE(store.Get("4"));
  EXPECT_TRUE(store.Get("big"));  // the newest stays, whatever its size
  EXPECT_TRUE(store.Erase("big"));
  EXPECT_FALSE(store.Erase("big"));
}

}  // namespace
}  // namespace sgl
