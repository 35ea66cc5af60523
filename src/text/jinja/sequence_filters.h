// Filters on sequences and mappings.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "text/jinja/render.h"

namespace sgl::jinja {

const FilterEntry* FindSequenceFilter(std::string_view name);

}  // namespace sgl::jinja
