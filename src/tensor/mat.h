// Mat<T>: a 2-D row-major view. It never owns.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <type_traits>

namespace sgl {

template <class T>
struct Mat {
  T* data = nullptr;
  int64_t rows = 0, cols = 0;
  int64_t stride = 0;  // elements from one row to the next, >= cols

  T* row(int64_t r) const { return data + r * stride; }
  // Columns [begin, begin + count) of every row.
  Mat Cols(int64_t begin, int64_t count) const { return {data + begin, rows, count, stride}; }
  Mat Rows(int64_t begin, int64_t count) const { return {data + begin * stride, count, cols, stride}; }
  operator Mat<const T>() const requires(!std::is_const_v<T>) { return {data, rows, cols, stride}; }
};

template <class T>
Mat<T> MakeMat(T* data, int64_t rows, int64_t cols) {
  return {data, rows, cols, cols};
}

}  // namespace sgl
