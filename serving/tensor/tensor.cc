// SPDX-License-Identifier: Apache-2.0
#include "serving/tensor/tensor.h"

#include <fmt/format.h>

#include "base/sizes.h"

namespace nrtd::serving {

Result<Tensor> Tensor::Make(DType dtype, Shape shape, std::string bytes) {
  const auto count = ElementCount(shape);
  const auto size = count ? CheckedMultiply(*count, DTypeSize(dtype)) : std::nullopt;
  if (!size || *size != bytes.size()) {
    return Fail(Nerr::kInvalid, "{} bytes are not the elements of {} {}", bytes.size(),
                DTypeName(dtype), ShapeText(shape));
  }
  return Tensor(dtype, std::move(shape), std::move(bytes));
}

std::string Tensor::Text() const {
  return fmt::format("{} {}", DTypeName(dtype_), ShapeText(shape_));
}

}  // namespace nrtd::serving
