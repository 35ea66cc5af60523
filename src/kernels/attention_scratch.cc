// SPDX-License-Identifier: Apache-2.0
#include "kernels/any/attention_scratch.h"

namespace sgl {

int64_t AttentionScratch(int heads_per_group, int width) {
  const int64_t any = AttnScratch(heads_per_group, width).total, tiles = TileAttnScratch(heads_per_group, width).total / 4 + 16;
  return any > tiles ? any : tiles;
}

}  // namespace sgl
