// SPDX-License-Identifier: Apache-2.0
//
// Tensors written down by their elements.
#pragma once

#include <utility>
#include <vector>

#include "serving/tensor/tensor.h"
#include "test/must.h"

namespace nrtd::serving {

template <typename Element>
Tensor Make(DType dtype, Shape shape, const std::vector<Element>& elements) {
  return Must(Tensor::Make(
      dtype, std::move(shape),
      {reinterpret_cast<const char*>(elements.data()), elements.size() * sizeof(Element)}));
}
inline Tensor Floats(Shape shape, const std::vector<float>& elements) {
  return Make(DType::kFloat32, std::move(shape), elements);
}
inline Tensor Ints(Shape shape, const std::vector<int32_t>& elements) {
  return Make(DType::kInt32, std::move(shape), elements);
}

}  // namespace nrtd::serving
