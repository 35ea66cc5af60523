// Kernels on the tile registers. Contracts: kernels/kernels.h.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/any/kernels_any.h"

namespace sgl::KERNEL_ISA {

void TileAttention(Mat<const float> q, const KvLayer& kv, const AttnTask& task, Mat<float>* out, float* partials, float* scratch);

// Where a panel's bytes are, and where those come from that will be wanted after it (itself when nothing follows).
struct PanelStream {
  const uint8_t* data;
  const uint8_t* next;
};

// Unpacks `count` tiles, 32 inputs of a panel each, from tile `first` on: 16 rows of 16 pairs of bf16, within 2^-7.4 of what UnpackRow
// gives and without bias. dst: 64-byte aligned. Fetches the stream ahead.
using UnpackTilesFn = void (*)(int64_t k, PanelStream panel, int64_t first, int64_t count, uint8_t* dst);

// Block formats, up to kVectorRows rows: out: [rows][kVectorOut] += x times the columns of `count` panels, 16 each, as the tile steps
// would, with subnormals as zero if the caller has set the processor so. x: [rows][k] floats that are bf16 numbers. Several panels at a
// time keep several streams of weights in flight; all are fetched ahead.
inline constexpr int kVectorRows = 2, kVectorPanels = 4, kVectorOut = kVectorPanels * kPanel;
using VectorStepsFn = void (*)(int64_t k, const PanelStream* panels, int count, const float* x, float* out);

struct BlockKernels {
  UnpackTilesFn unpack;
  VectorStepsFn steps[kVectorRows];  // for 1, 2, ... rows
};
const BlockKernels* BlockKernelsFor(DType format);  // null for plain types

Form TileForm(DType format);
void TileMatMul(const Activations& x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias, bool add,
                Mat<float> out);
void TileMatMulGated(const Activations& x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias,
                     Mat<std::byte> out);

}  // namespace sgl::KERNEL_ISA
