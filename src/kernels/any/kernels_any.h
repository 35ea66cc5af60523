// Kernels written once and compiled for every instruction set (namespace sgl::<isa>). Contracts: kernels/kernels.h.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace sgl::KERNEL_ISA {

void RmsNorm(Mat<const float> x, const float* w, float eps, Mat<float> y);
void Rope(Mat<float> x, int heads, int width, int rotary, bool interleaved, Mat<const float> cos_sin);
void SiluMul(Mat<const float> x, Mat<float> y);
void AddTo(Mat<const float> x, Mat<float> y);
void Prepare(Mat<const float> x, const float* norm, float eps, Form form, Mat<std::byte> dst);

void MatMul(const Activations& x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias, bool add, Mat<float> out);
void MatMulPlain(Mat<const float> x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias, bool add,
                 Mat<float> out);
void MatMulInt8(const Activations& x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias, bool add,
                Mat<float> out);
void MatMulBlocks(const Activations& x, const PackedMat& w, int64_t panel_begin, int64_t panel_end, const float* bias, bool add,
                  Mat<float> out);

void StoreKv(Mat<const float> k, Mat<const float> v, const int32_t* slots, const KvLayer& kv);
void Attention(Mat<const float> q, const KvLayer& kv, const AttnTask& task, Mat<float>* out, float* partials, float* scratch);
void AttentionMerge(const float* partials, int parts, int64_t part_stride, int width, float* out);

int64_t ArgMax(const float* x, int64_t n);
void SoftmaxStats(const float* x, int64_t n, float inv_temperature, float* max, double* sum);

Kernels Table();

}  // namespace sgl::KERNEL_ISA
