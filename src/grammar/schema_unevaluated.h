// unevaluatedProperties and unevaluatedItems: what the other keywords of a schema have not looked at.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <string>

#include "grammar/json_schema.h"

namespace sgl {

struct Unevaluated {
  int id = 0, kid = 0;      // the node that has the keyword, and what it says of the rest
  bool properties = false;  // else items
  std::string where;        // for errors
};

// Adds to the node what the keyword means. Subschemas that hold have evaluated what they name; which of them hold is known only with the
// value, so each set of them that can hold together becomes an alternative, closed over what the set names. has(id, keyword): whether the
// node was written with it. Error: too many sets.
Status AddUnevaluated(Schema& schema, const Unevaluated& what, const std::function<bool(int, std::string_view)>& has);

}  // namespace sgl
