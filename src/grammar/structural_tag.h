// Structural tags: free text with places where a grammar takes over. SGLang's (xgrammar's) JSON forms, old and new.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "base/json.h"
#include "grammar/rule_set.h"
#include "grammar/vocabulary.h"

namespace sgl {

// machine: a JSON Schema as a terminal. Errors name the place: "#/format/tags/0/end: ...".
using SchemaTerminal = std::function<Result<std::shared_ptr<const JsonMachine>>(const Json& schema)>;
Result<RuleSource> ParseStructuralTag(const Json& tag, const SchemaTerminal& machine, const Vocabulary& vocabulary);

}  // namespace sgl
