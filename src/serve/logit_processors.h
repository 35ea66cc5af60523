// custom_logit_processor by name. SGLang takes a pickled Python object there; nothing of that kind is ever run here.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "sched/request.h"

namespace sgl {

// Makes `sampling` do what the named processor does with its parameters (sampling_params.custom_params; null if none).
// Errors: pickled objects, unknown names, parameters it cannot use; messages say what is possible.
Status ApplyLogitProcessor(const std::string& name, const Json& custom_params, int64_t vocab_size, SamplingParams& sampling);

}  // namespace sgl
