// Requests and replies as JSON: for logs, dumps and meta_info. What it writes of a request, POST /generate reads back.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "base/json.h"
#include "sched/request.h"
#include "text/tokenizer.h"

namespace sgl {

// Names as in POST /generate; what has its default is left out, except temperature and max_new_tokens.
Json DescribeSampling(const SamplingParams& params);
// prompt as "text" and "input_ids".
Json DescribeRequest(const GenerateRequest& request, bool stream, const Tokenizer& tokenizer);

// [1.0,2.0]
void AppendVector(std::string& out, const std::vector<float>& values);
// Comma separated entries of meta_info.hidden_states: the first ones are the prompt's rows and become one matrix, later ones vectors.
void AppendHiddenStates(std::string& out, const std::vector<std::vector<float>>& rows);

void AppendFinishReason(std::string& out, const std::optional<Finish>& finish);  // {"type":..} or null

// A value as Python prints it: None, True, 'text', {'key': 1}.
std::string PythonRepr(const Json& value);
// Strings and lists longer than `limit` keep their first and last half, with "..." between.
Json Shortened(const Json& value, size_t limit);

}  // namespace sgl
