// What the three simd_*.h share: the namespace's name and how their functions are declared.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#ifndef KERNEL_ISA
#define KERNEL_ISA header_check
#endif
#define SIMD_FN static inline __attribute__((always_inline))
