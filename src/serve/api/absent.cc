// SGLang's routes for what this build has not: a refusal that says so, where 404 would look like a wrong address.
// SPDX-License-Identifier: Apache-2.0
#include "serve/api/handlers.h"
#include "serve/reply.h"
#include "serve/routes.h"

namespace sgl {
namespace {

struct Absent {
  std::string_view path, why;
};
constexpr std::string_view kNoAdapters = "it has no LoRA adapters", kOneProcess = "it takes weights from disk only",
                           kKeepsMemory = "it keeps its memory", kNoStorage = "it keeps its cache in memory only",
                           kNoCorpora = "it has no speculative decoding", kNoExperts = "it counts no experts",
                           kNoHead = "its models have no classification head", kTextOnly = "it serves text models only";
constexpr Absent kAbsent[] = {
    {"/load_lora_adapter", kNoAdapters},
    {"/load_lora_adapter_from_tensors", kNoAdapters},
    {"/unload_lora_adapter", kNoAdapters},
    {"/update_weights_from_tensor", kOneProcess},
    {"/update_weights_from_distributed", kOneProcess},
    {"/update_weights_from_ipc", kOneProcess},
    {"/init_weights_update_group", kOneProcess},
    {"/destroy_weights_update_group", kOneProcess},
    {"/release_memory_occupation", kKeepsMemory},
    {"/resume_memory_occupation", kKeepsMemory},
    {"/clear_hicache_storage_backend", kNoStorage},
    {"/hicache/storage-backend", kNoStorage},
    {"/hicache/storage-backend/clear", kNoStorage},
    {"/add_external_corpus", kNoCorpora},
    {"/remove_external_corpus", kNoCorpora},
    {"/list_external_corpora", kNoCorpora},
    {"/start_expert_distribution_record", kNoExperts},
    {"/stop_expert_distribution_record", kNoExperts},
    {"/dump_expert_distribution_record", kNoExperts},
    {"/classify", kNoHead},
    {"/v1/classify", kNoHead},
    {"/v1/audio/transcriptions", kTextOnly},
    {"/v1/realtime", kTextOnly},
};

}  // namespace

void HandleAbsent(ApiContext& context, const Exchange& exchange) {
  const std::string_view path = LocalPath(context.config, exchange->request().path);
  for (const Absent& absent : kAbsent) {
    if (absent.path != path) continue;
    const std::string message = std::string(path) + " is not supported by this server: " + std::string(absent.why) + ".";
    return SendError(*exchange, FromError(InvalidArgument(message), ErrorStyle::kNative));
  }
  SendError(*exchange, HttpErrorReply(404, "Not Found"));
}

void HandleFreezeGc(ApiContext&, const Exchange& exchange) { SendText(*exchange, 200, "There is no garbage to collect.\n"); }

}  // namespace sgl
