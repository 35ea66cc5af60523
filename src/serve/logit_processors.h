// custom_logit_processor by name. SGLang takes a pickled Python object there; nothing of that kind is ever run here.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "sched/request.h"
#include "text/tokenizer.h"

namespace sgl {

// Makes `sampling` do what the named processor does with its parameters (sampling_params.custom_params; null if none). name: the class's
// name, or what SGLang's clients send: {"callable": "<hex>"}, a pickle that is no more than a reference to one of these classes.
// Errors: other pickles, unknown names, parameters it cannot use; messages say what is possible.
Status ApplyLogitProcessor(const std::string& name, const Json& custom_params, int64_t vocab_size, const Tokenizer& tokenizer,
                           SamplingParams& sampling);

// The class that a pickle refers to by "module.name", if that is all it does; "" else. Nothing is run. pickle: as bytes.
std::string PickledReference(std::string_view pickle);

}  // namespace sgl
