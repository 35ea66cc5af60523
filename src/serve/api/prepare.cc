// SPDX-License-Identifier: Apache-2.0
#include "serve/api/prepare.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "serve/json_reader.h"
#include "serve/logit_processors.h"
#include "serve/reply.h"

namespace sgl {
namespace {

constexpr size_t kMaxPromptTokens = size_t{1} << 27;  // over all samples of one HTTP request: half a gigabyte of ids

}  // namespace

Status RefuseFields(const Json& body, std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names)
    if (!IsInert(body[name])) return UnsupportedField(name);
  return {};
}

Status RefuseCommonFields(const Json& body) { return RefuseFields(body, {"lora_path", "return_routed_experts"}); }

Result<std::optional<int>> ReadDpRank(const Json& body, const HttpRequest& request, int replicas) {
  const auto in_range = [&](std::string_view name, std::string_view text, int64_t rank) -> Result<std::optional<int>> {
    if (rank >= 0 && rank < replicas) return std::optional<int>(static_cast<int>(rank));
    return InvalidArgument(fmt::format("{} must be in [0, {}], got {}.", name, replicas - 1, text));
  };
  std::optional<int> asked;
  for (const std::string_view name : {"data_parallel_rank", "routed_dp_rank"}) {
    const Json& rank = body[name];
    if (rank.is_null()) continue;
    TRY(asked, in_range(name, DumpJson(rank), rank.is_int() ? rank.as_int() : -1));
  }
  const std::string_view header = FindHeader(request, "x-data-parallel-rank");
  if (header.empty()) return asked;
  int64_t rank = -1;
  const auto [end, error] = std::from_chars(header.data(), header.data() + header.size(), rank);
  return in_range("X-Data-Parallel-Rank", header, error == std::errc() && end == header.data() + header.size() ? rank : -1);
}

namespace {

void ReadSessionFields(JsonReader& field, SessionParams& out) {
  field.Required("id", out.id)("rid", out.rid)("offset", out.offset)("replace", out.replace);
  field("drop_previous_output", out.drop_previous_output);
}

}  // namespace

void DescribeSessionParams(JsonReader& field) {
  SessionParams params;
  ReadSessionFields(field, params);
}

bool ReadJson(const Json& value, SessionParams& out, std::string& why) {
  if (!value.is_object()) return WrongType(value, "an object", why);
  JsonReader field(value);
  ReadSessionFields(field, out);
  if (field.status().ok()) return true;
  why = "." + field.status().error().message;
  return false;
}

std::string RoutingKey(const Json& body, const HttpRequest& request) {
  const std::string_view header = FindHeader(request, "x-smg-routing-key");
  return !header.empty() ? std::string(header) : body["routing_key"].is_string() ? body["routing_key"].as_string() : "";
}

Status ApplySpecials(const Specials& specials, const Json& custom_params, const ApiContext& context, GenerateRequest& request) {
  if (specials.return_hidden_states) {
    if (!context.config.enable_return_hidden_states)
      return InvalidArgument("return_hidden_states: this server was started without --enable-return-hidden-states.");
    request.hidden = GenerateRequest::Hidden::kAll;
  }
  if (!specials.logit_processor.empty()) {
    if (!context.config.enable_custom_logit_processor)
      return InvalidArgument("custom_logit_processor: this server was started without --enable-custom-logit-processor.");
    return ApplyLogitProcessor(specials.logit_processor, custom_params, context.backend.info().vocab_size, *context.tokenizer,
                               request.sampling);
  }
  // Without a processor one member means something to the engine.
  Json others = custom_params;
  if (const Json* budget = custom_params.find("thinking_budget"); budget != nullptr) {
    if (!budget->is_null() && (!budget->is_int() || budget->as_int() < 0))
      return InvalidArgument(fmt::format("custom_params.thinking_budget: expected an integer of at least 0, got {}", DumpJson(*budget)));
    if (budget->is_int()) request.thinking_budget = budget->as_int();
    std::erase_if(others.as_object(), [](const Json::Member& m) { return m.first == "thinking_budget"; });
  }
  if (!IsInert(others)) return InvalidArgument("custom_params: nothing uses them without custom_logit_processor, but for thinking_budget.");
  return {};
}

Status CheckSamples(size_t prompts, int64_t n) {
  constexpr int64_t kMaxSubRequests = 65536;
  if (n <= kMaxSubRequests / static_cast<int64_t>(std::max<size_t>(prompts, 1))) return {};
  return InvalidArgument(fmt::format("n times the number of prompts must be at most {}, got {} times {}.", kMaxSubRequests, n, prompts));
}

std::vector<std::string> NumberedRids(const std::string& base, size_t count) {
  if (count == 1) return {base};
  std::vector<std::string> rids;
  for (size_t i = 0; i < count; ++i) rids.push_back(base + "_" + std::to_string(i));
  return rids;
}

Result<std::vector<GenerateRequest>> Expand(std::vector<PromptPlan> plans) {
  size_t tokens = 0;
  for (const PromptPlan& plan : plans) {
    const size_t samples = plan.rids.size();
    if (plan.request.prompt.size() > (kMaxPromptTokens - tokens) / samples)
      return InvalidArgument(fmt::format("The prompts of all samples together have more than {} tokens.", kMaxPromptTokens));
    tokens += plan.request.prompt.size() * samples;
  }
  std::vector<GenerateRequest> requests;
  std::unordered_set<std::string> seen;
  for (PromptPlan& plan : plans) {
    for (size_t s = 0; s < plan.rids.size(); ++s) {
      if (!seen.insert(plan.rids[s]).second) return InvalidArgument("Duplicate request ID in the request: " + plan.rids[s]);
      GenerateRequest& request = requests.emplace_back(plan.request);
      request.rid = std::move(plan.rids[s]);
      std::optional<int64_t>& seed = request.sampling.sampling_seed;
      if (seed) seed = static_cast<int64_t>(static_cast<uint64_t>(*seed) + s);
    }
  }
  return requests;
}

}  // namespace sgl
