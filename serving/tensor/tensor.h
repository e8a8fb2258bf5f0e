// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/sizes.h"

namespace nrtd::serving {

// As large as a message may be, which also keeps sizes far from overflowing.
inline constexpr uint64_t kMaxTensorBytes = 2 * kGiB;

// A tensor on its way through the model server. Its elements lie row by row in little-endian order
// (a bool is a byte), in memory that copies of the tensor share and nobody changes.
class Tensor {
 public:
  Tensor() = default;
  // kInvalid unless `bytes` are the elements of that shape.
  static Result<Tensor> Make(DType dtype, Shape shape, std::string bytes);
  // `bytes` are known to fit.
  Tensor(DType dtype, Shape shape, std::string bytes)
      : dtype_(dtype),
        shape_(std::move(shape)),
        bytes_(std::make_shared<std::string>(std::move(bytes))) {}

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  const std::string& bytes() const { return *bytes_; }
  // The same elements in another shape of as many.
  Tensor Reshaped(Shape shape) const {
    Tensor other = *this;
    other.shape_ = std::move(shape);
    return other;
  }
  // The elements, without a copy if no other tensor has them.
  std::string TakeBytes() && {
    return bytes_.use_count() == 1 ? std::move(*bytes_) : std::string(*bytes_);
  }
  // "float32 [1,128]"
  std::string Text() const;

 private:
  DType dtype_ = DType::kFloat32;
  Shape shape_;
  std::shared_ptr<std::string> bytes_ = std::make_shared<std::string>();
};

// Its elements as values of their type.
template <typename Element>
std::vector<Element> ElementsOf(const Tensor& tensor) {
  std::vector<Element> elements(tensor.bytes().size() / sizeof(Element));
  if (!elements.empty())
    std::memcpy(elements.data(), tensor.bytes().data(), elements.size() * sizeof(Element));
  return elements;
}
// The one at `index`, row by row.
template <typename Element>
Element ElementAt(const Tensor& tensor, uint64_t index) {
  Element element{};
  std::memcpy(&element, tensor.bytes().data() + index * sizeof(Element), sizeof(Element));
  return element;
}

}  // namespace nrtd::serving
