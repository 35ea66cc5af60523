// The handlers that serve/routes.cc names. Each answers its exchange, at once or later.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "serve/context.h"
#include "serve/json_reader.h"

namespace sgl {

void HandleGenerate(ApiContext& context, const Exchange& exchange);
void HandleVertexGenerate(ApiContext& context, const Exchange& exchange);
void HandleCompletions(ApiContext& context, const Exchange& exchange);
void HandleChat(ApiContext& context, const Exchange& exchange);
void HandleResponses(ApiContext& context, const Exchange& exchange);
void HandleResponse(ApiContext& context, const Exchange& exchange);  // /v1/responses/{id}
void HandleMessages(ApiContext& context, const Exchange& exchange);
void HandleCountTokens(ApiContext& context, const Exchange& exchange);
void HandleOllamaChat(ApiContext& context, const Exchange& exchange);
void HandleOllamaGenerate(ApiContext& context, const Exchange& exchange);
void HandleOllamaTags(ApiContext& context, const Exchange& exchange);
void HandleOllamaPs(ApiContext& context, const Exchange& exchange);
void HandleOllamaShow(ApiContext& context, const Exchange& exchange);
void HandleOllamaVersion(ApiContext& context, const Exchange& exchange);
void HandleEmbeddings(ApiContext& context, const Exchange& exchange);
void HandleEncode(ApiContext& context, const Exchange& exchange);
void HandleOllamaEmbed(ApiContext& context, const Exchange& exchange);
void HandleScore(ApiContext& context, const Exchange& exchange);
void HandleRerank(ApiContext& context, const Exchange& exchange);
void HandleTokenize(ApiContext& context, const Exchange& exchange);
void HandleDetokenize(ApiContext& context, const Exchange& exchange);
void HandleParseFunctionCall(ApiContext& context, const Exchange& exchange);
void HandleSeparateReasoning(ApiContext& context, const Exchange& exchange);

// The fields of their bodies, for a describing reader.
void DescribeGenerate(JsonReader& field);
void DescribeVertex(JsonReader& field);
void DescribeCompletions(JsonReader& field);
void DescribeChat(JsonReader& field);
void DescribeMessages(JsonReader& field);
void DescribeResponses(JsonReader& field);
void DescribeOllamaChat(JsonReader& field);
void DescribeOllamaGenerate(JsonReader& field);
void DescribeEmbeddings(JsonReader& field);
void DescribeEncode(JsonReader& field);
void DescribeOllamaEmbed(JsonReader& field);
void DescribeScore(JsonReader& field);
void DescribeRerank(JsonReader& field);
void DescribeStartProfile(JsonReader& field);
void DescribeTokenize(JsonReader& field);
void DescribeDetokenize(JsonReader& field);
void DescribeParseFunctionCall(JsonReader& field);
void DescribeSeparateReasoning(JsonReader& field);
void DescribeConfigureLogging(JsonReader& field);
void DescribeAbortRequest(JsonReader& field);
void DescribeOpenSession(JsonReader& field);
void DescribeCloseSession(JsonReader& field);
void DescribePause(JsonReader& field);
void DescribeSetInternalState(JsonReader& field);
void DescribeSlowDown(JsonReader& field);
void DescribeUpdateWeights(JsonReader& field);
void DescribeUpdateWeightVersion(JsonReader& field);
void DescribeGetWeights(JsonReader& field);
void DescribeWeightsChecker(JsonReader& field);

void HandleOpenApi(ApiContext& context, const Exchange& exchange);
void HandleRoot(ApiContext& context, const Exchange& exchange);
void HandleModels(ApiContext& context, const Exchange& exchange);
void HandleModel(ApiContext& context, const Exchange& exchange);  // /v1/models/{id}
void HandleModelInfo(ApiContext& context, const Exchange& exchange);
void HandleServerInfo(ApiContext& context, const Exchange& exchange);
void HandleLoads(ApiContext& context, const Exchange& exchange);
void HandleGetLoad(ApiContext& context, const Exchange& exchange);

void HandleMetrics(ApiContext& context, const Exchange& exchange);

void HandleFlushCache(ApiContext& context, const Exchange& exchange);
void HandleConfigureLogging(ApiContext& context, const Exchange& exchange);
void HandleSetTraceLevel(ApiContext& context, const Exchange& exchange);
void HandleStartProfile(ApiContext& context, const Exchange& exchange);
void HandleStopProfile(ApiContext& context, const Exchange& exchange);
void HandleAbortRequest(ApiContext& context, const Exchange& exchange);

void HandleOpenSession(ApiContext& context, const Exchange& exchange);
void HandleCloseSession(ApiContext& context, const Exchange& exchange);

void HandlePauseGeneration(ApiContext& context, const Exchange& exchange);
void HandleContinueGeneration(ApiContext& context, const Exchange& exchange);
void HandleSetInternalState(ApiContext& context, const Exchange& exchange);
void HandleSlowDown(ApiContext& context, const Exchange& exchange);

void HandleUpdateWeightsFromDisk(ApiContext& context, const Exchange& exchange);
void HandleUpdateWeightVersion(ApiContext& context, const Exchange& exchange);
void HandleGetWeightsByName(ApiContext& context, const Exchange& exchange);
void HandleWeightsChecker(ApiContext& context, const Exchange& exchange);

void HandleAbsent(ApiContext& context, const Exchange& exchange);
void HandleFreezeGc(ApiContext& context, const Exchange& exchange);

void HandlePing(ApiContext& context, const Exchange& exchange);
void HandleHealth(ApiContext& context, const Exchange& exchange);
void HandleHealthGenerate(ApiContext& context, const Exchange& exchange);

}  // namespace sgl
