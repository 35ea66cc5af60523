// How busy the server is: /v1/loads, /get_load, /metrics.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>

#include "serve/api/handlers.h"
#include "serve/reply.h"

namespace sgl {
namespace {

constexpr double kGigabyte = 1024.0 * 1024.0 * 1024.0;
constexpr std::array<std::string_view, 7> kSections = {"core", "memory", "spec", "lora", "disagg", "queues", "all"};

std::string IsoTime(double unix_seconds) {
  const auto seconds = static_cast<std::time_t>(unix_seconds);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[40];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:06d}+00:00", text, static_cast<int>((unix_seconds - std::floor(unix_seconds)) * 1e6));
}

std::vector<std::string_view> Split(std::string_view list) {
  std::vector<std::string_view> items;
  while (!list.empty()) {
    items.push_back(list.substr(0, list.find(',')));
    list.remove_prefix(std::min(items.back().size() + 1, list.size()));
  }
  return items;
}

bool Includes(const std::vector<std::string_view>& include, std::string_view section) {
  return include.empty() || std::any_of(include.begin(), include.end(), [&](auto item) { return item == section || item == "all"; });
}

Json Load(const ApiContext& context, size_t rank, const EngineStats& stats, const std::vector<std::string_view>& include) {
  const EngineInfo& info = context.backend.info();
  const EngineProbe& probe = *context.backend.probes()[rank];
  const double usage = stats.sched.total_tokens > 0 ? double(stats.sched.used_tokens) / double(stats.sched.total_tokens) : 0.0;
  Json load;
  load.Set("dp_rank", static_cast<int64_t>(rank));
  load.Set("num_running_reqs", stats.sched.running).Set("num_waiting_reqs", stats.sched.waiting);
  load.Set("num_used_tokens", stats.sched.used_tokens).Set("num_total_tokens", stats.sched.used_tokens + stats.sched.waiting_tokens);
  load.Set("max_total_num_tokens", info.max_total_tokens).Set("token_usage", usage).Set("gen_throughput", stats.last_gen_throughput);
  load.Set("cache_hit_rate", probe.cache_hit_rate.value());
  load.Set("utilization", info.max_running_requests > 0 ? double(stats.sched.running) / info.max_running_requests : 0.0);
  load.Set("max_running_requests", info.max_running_requests);
  if (Includes(include, "memory"))
    load.Set("memory", Json()
                           .Set("weight_gb", double(info.weight_bytes) / kGigabyte)
                           .Set("kv_cache_gb", double(info.kv_bytes) / kGigabyte)
                           .Set("graph_gb", 0.0)
                           .Set("token_capacity", info.max_total_tokens));
  if (Includes(include, "queues"))
    load.Set("queues", Json()
                           .Set("waiting", stats.sched.waiting - stats.held - stats.sched.retracted)
                           .Set("grammar", stats.compiling)
                           .Set("paused", stats.held)
                           .Set("retracted", stats.sched.retracted));
  if (!stats.prefilling.empty()) {
    Json::Array prompts;
    for (const PrefillProgress& p : stats.prefilling)
      prompts.push_back(Json().Set("rid", p.rid).Set("computed_tokens", p.computed_tokens).Set("prompt_tokens", p.prompt_tokens));
    load.Set("prefilling", Json(std::move(prompts)));
  }
  load.Set("num_total_reqs", stats.sched.running + stats.sched.waiting);
  return load;
}

// Of every replica, or of the one that the query names.
std::vector<Json> Loads(const ApiContext& context, const std::vector<std::string_view>& include, const std::string& only) {
  const std::vector<EngineStats> stats = context.backend.stats();
  std::vector<Json> loads;
  for (size_t rank = 0; rank < stats.size(); ++rank)
    if (only.empty() || only == std::to_string(rank)) loads.push_back(Load(context, rank, stats[rank], include));
  return loads;
}

// # TYPE sglang_num_running_reqs gauge ... of every number in the loads, a sample per replica; those of a section have its name in front.
void AppendGauges(std::string& out, const std::vector<Json>& loads, const std::vector<std::string>& ranks, const std::string& prefix) {
  if (loads.empty()) return;
  for (const auto& [name, first] : loads.front().as_object()) {
    if (first.is_object()) {
      std::vector<Json> inside;
      for (const Json& load : loads) inside.push_back(load[name]);
      AppendGauges(out, inside, ranks, prefix + name + "_");
    }
    if (!first.is_number() || name == "dp_rank" || name == "num_total_reqs") continue;
    const std::string full = prefix + name;
    out += fmt::format("# HELP {} {} of this server\n# TYPE {} gauge\n", full, name, full);
    for (size_t i = 0; i < loads.size(); ++i) out += fmt::format("{}{{dp_rank=\"{}\"}} {}\n", full, ranks[i], DumpJson(loads[i][name]));
  }
}

Json Aggregate(const std::vector<Json>& loads) {
  const auto total = [&](const char* name) {
    int64_t sum = 0;
    for (const Json& load : loads) sum += load.get_int(name, 0);
    return sum;
  };
  const auto average = [&](const char* name) {
    double sum = 0;
    for (const Json& load : loads) sum += load.get_double(name, 0);
    return loads.empty() ? 0.0 : sum / static_cast<double>(loads.size());
  };
  Json out;
  out.Set("total_running_reqs", total("num_running_reqs")).Set("total_waiting_reqs", total("num_waiting_reqs"));
  out.Set("total_reqs", total("num_total_reqs")).Set("total_used_tokens", total("num_used_tokens"));
  out.Set("total_tokens", total("num_total_tokens")).Set("avg_token_usage", average("token_usage"));
  out.Set("avg_throughput", average("gen_throughput")).Set("avg_utilization", average("utilization"));
  return out;
}

struct LoadsQuery {
  std::string include, rank, format;  // rank "": all
};

Result<LoadsQuery> ReadLoadsQuery(const std::string& query) {
  LoadsQuery out;
  FindQuery(query, "include", out.include);
  for (const std::string_view section : Split(out.include))
    if (std::find(kSections.begin(), kSections.end(), section) == kSections.end())
      return InvalidArgument(fmt::format("include: expected core, memory, spec, lora, disagg, queues or all, got '{}'", section));
  if (FindQuery(query, "format", out.format) && out.format != "json" && out.format != "prometheus")
    return InvalidArgument("format: expected json or prometheus, got '" + out.format + "'");
  if (FindQuery(query, "dp_rank", out.rank) && (out.rank.empty() || out.rank.find_first_not_of("0123456789") != std::string::npos))
    return InvalidArgument("dp_rank: expected a number >= 0, got '" + out.rank + "'");
  return out;
}

}  // namespace

void HandleLoads(ApiContext& context, const Exchange& exchange) {
  const Result<LoadsQuery> query = ReadLoadsQuery(exchange->request().query);
  if (!query.ok()) return SendError(*exchange, FromError(query.error(), ErrorStyle::kNative));
  const std::vector<Json> loads = Loads(context, Split(query->include), query->rank);
  const auto answered = [&] {
    context.probe->get_loads_seconds.Observe(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - exchange->request().received).count());
  };
  if (query->format == "prometheus") {
    std::vector<std::string> ranks;
    for (const Json& load : loads) ranks.push_back(DumpJson(load["dp_rank"]));
    std::string text;
    AppendGauges(text, loads, ranks, "sglang_");
    answered();
    return exchange->Send(200, "text/plain; version=0.0.4; charset=utf-8", std::move(text));
  }
  Json out;
  out.Set("timestamp", IsoTime(context.unix_now())).Set("version", context.config.version);
  out.Set("dp_rank_count", static_cast<int64_t>(context.backend.probes().size()));
  out.Set("loads", Json(Json::Array(loads.begin(), loads.end()))).Set("aggregate", Aggregate(loads));
  SendJson(*exchange, 200, DumpJson(out));
  answered();
}

void HandleGetLoad(ApiContext& context, const Exchange& exchange) {
  Json::Array loads;
  for (const EngineStats& stats : context.backend.stats()) {
    Json load;
    load.Set("dp_rank", static_cast<int64_t>(loads.size()));
    load.Set("num_reqs", stats.sched.running + stats.sched.waiting).Set("num_waiting_reqs", stats.sched.waiting);
    load.Set("num_tokens", stats.sched.used_tokens + stats.sched.waiting_tokens).Set("num_pending_tokens", stats.sched.pending_tokens);
    load.Set("ts_tic", context.unix_now());
    loads.push_back(std::move(load));
  }
  SendJson(*exchange, 200, DumpJson(Json(std::move(loads))));
}

void HandleMetrics(ApiContext& context, const Exchange& exchange) {
  if (!context.config.enable_metrics) return SendError(*exchange, HttpErrorReply(404, "Not Found"));
  const MetricLabels& extra = context.probe->config().extra_labels;
  MetricLabels front = {{"model_name", context.backend.info().served_model_name}, {"engine_type", "unified"}};
  MetricLabels engine = front;
  for (const char* rank : {"tp_rank", "pp_rank", "moe_ep_rank"}) engine.emplace_back(rank, "0");
  if (context.probe->config().priorities) engine.emplace_back("priority", "");
  front.insert(front.end(), extra.begin(), extra.end());
  engine.insert(engine.end(), extra.begin(), extra.end());
  Exposition text;
  const std::vector<const EngineProbe*> probes = context.backend.probes();
  for (size_t i = 0; i < probes.size(); ++i) {
    MetricLabels labels = engine;
    if (probes.size() > 1) labels.emplace_back("dp_rank", std::to_string(i));
    text.SetCommonLabels(std::move(labels));
    probes[i]->Visit(text);
  }
  context.probe->Write(text, front);
  exchange->Send(200, "text/plain; version=0.0.4; charset=utf-8", text.Take());
}

}  // namespace sgl
