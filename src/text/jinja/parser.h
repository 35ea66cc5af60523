// Tokens -> parse tree, with every variable resolved to its place.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <string>

#include "base/result.h"
#include "text/jinja/ast.h"

namespace sgl::jinja {

// Errors: "line 12: expected token 'endif', got 'endfor'".
Result<std::unique_ptr<const Ast>> Parse(const std::string& source);

// Scopes of all variables, as jinja2's compiler assigns them; called by Parse. Returns an error message or "".
std::string ResolveScopes(Ast& ast);

}  // namespace sgl::jinja
