// What the flights of chat APIs other than OpenAI's have in common: one sample, its answer taken apart, an error form of their own.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <utility>

#include "serve/api/chat_request.h"
#include "serve/flight.h"

namespace sgl {

class ChatApiFlight : public Flight {
 protected:
  ChatApiFlight(ApiContext& context, Exchange exchange, FlightOptions options, const ChatPlan& plan)
      : Flight(context, std::move(exchange), std::move(options)), model_(plan.request.model), id_(plan.id), output_(plan.format) {}

  void Take(size_t, TokenDelta& delta) override { output_.Push(delta); }

  ChatOutput& output() { return output_; }
  const ChatMessage& message() const { return output_.message(); }
  int64_t reasoning_tokens() const { return output_.reasoning_tokens(); }
  const std::string& model() const { return model_; }
  const std::string& id() const { return id_; }
  const Progress& sample() const { return progress(0); }

 private:
  const std::string model_, id_;
  ChatOutput output_;
};

// JSON arguments of a call; an empty object when the model wrote something else.
inline Json CallArguments(const std::string& text) {
  Result<Json> json = ParseJson(text);
  return json.ok() && json->is_object() ? *std::move(json) : Json(Json::Object{});
}

}  // namespace sgl
