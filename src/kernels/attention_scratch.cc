// SPDX-License-Identifier: Apache-2.0
#include "kernels/any/attention_scratch.h"

namespace sgl {

int64_t AttentionScratch(int heads_per_group, int width) { return AttnScratch(heads_per_group, width).total; }

}  // namespace sgl
