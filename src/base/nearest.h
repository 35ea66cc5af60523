// "Did you mean": the known name closest to what was typed.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace sgl {

// Fewest insertions, deletions and substitutions of one character that turn `a` into `b`.
int EditDistance(std::string_view a, std::string_view b);

// The candidate with the smallest distance, the first one of equals; "" when even that is more than a third of the name away.
std::string Nearest(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace sgl
