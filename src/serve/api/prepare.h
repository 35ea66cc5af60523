// Steps that generate, completions and chat share on the way from a body to sub-requests.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "serve/context.h"
#include "serve/params.h"

namespace sgl {

// The first of `names` that asks for something (see IsInert) is an error: a feature is never silently left out.
Status RefuseFields(const Json& body, std::initializer_list<std::string_view> names);
// Fields that no endpoint of this build can honour.
Status RefuseCommonFields(const Json& body);
// The replica that a request asks for: the X-Data-Parallel-Rank header, else routed_dp_rank or its older name data_parallel_rank of the
// body. Errors: none of `replicas`.
Result<std::optional<int>> ReadDpRank(const Json& body, const HttpRequest& request, int replicas);

// A target for JsonReader: {"id": "...", ...}, see SessionParams.
bool ReadJson(const Json& value, SessionParams& out, std::string& why);
void DescribeSessionParams(JsonReader& field);

// The X-SMG-Routing-Key header, else the body's routing_key; "" if there is neither. For --schedule-policy routing-key.
std::string RoutingKey(const Json& body, const HttpRequest& request);
// What a server does only when it was started for it.
struct Specials {
  bool return_hidden_states = false;
  std::string logit_processor;  // a name; "": none
};
Status ApplySpecials(const Specials& specials, const Json& custom_params, const ApiContext& context, GenerateRequest& request);

// One HTTP request may become at most so many sub-requests, as many as the engine's inbox takes. An n below 1 is not looked at here.
Status CheckSamples(size_t prompts, int64_t n);

// What a client wants of each prompt, checked; `prompt`, `rid` and the seed are filled per sub-request.
struct PromptPlan {
  GenerateRequest request;
  std::vector<std::string> rids;  // one per sample
};

// One GenerateRequest per sample, prompt-major. A given seed counts up with the sample, so that samples differ and stay reproducible.
// Errors: a rid twice; more prompt tokens in all than a request may hold.
Result<std::vector<GenerateRequest>> Expand(std::vector<PromptPlan> plans);

// rids of `count` sub-requests for one base name: itself if there is one, "<base>_<i>" else.
std::vector<std::string> NumberedRids(const std::string& base, size_t count);

}  // namespace sgl
