// SPDX-License-Identifier: Apache-2.0
#include "tools/client/tensors.h"

#include <string>

#include "base/sizes.h"

namespace nrtd::client {
namespace {

std::string NamesOf(const Tensors& tensors) {
  std::string names;
  for (const v1::Tensor& tensor : tensors) {
    if (!names.empty()) names += ", ";
    names += tensor.name();
  }
  return names;
}

}  // namespace

const v1::Tensor* FindTensor(const Tensors& tensors, std::string_view name) {
  for (const v1::Tensor& tensor : tensors) {
    if (tensor.name() == name) return &tensor;
  }
  return nullptr;
}

Result<void> CheckArray(const v1::Tensor& tensor, DType dtype, uint64_t bytes,
                        std::string_view source) {
  if (DTypeName(dtype) != tensor.dtype()) {
    return Fail(Nerr::kInvalid, "{} holds {}, but the model's '{}' takes {}", source,
                DTypeName(dtype), tensor.name(), tensor.dtype());
  }
  if (bytes != tensor.bytes()) {
    return Fail(Nerr::kInvalid, "{} holds {} bytes, but the model's '{}' of shape {} takes {}",
                source, bytes, tensor.name(),
                ShapeText(Shape(tensor.shape().begin(), tensor.shape().end())), tensor.bytes());
  }
  return {};
}

TensorForm FormOf(const v1::Tensor* tensor, uint64_t bytes) {
  if (tensor != nullptr) {
    const auto dtype = DTypeFromName(tensor->dtype());
    const Shape shape(tensor->shape().begin(), tensor->shape().end());
    const auto count = ElementCount(shape);
    if (dtype && count && CheckedMultiply(*count, DTypeSize(*dtype)) == bytes)
      return {*dtype, shape};
  }
  return {DType::kUInt8, {static_cast<int64_t>(bytes)}};
}

Result<v1::Tensor> PickTensor(const Tensors& tensors, std::string_view name,
                              std::string_view what) {
  if (name.empty()) {
    if (tensors.size() == 1) return tensors[0];
    return Fail(Nerr::kInvalid, "the model has {} {}s ({}); name one with --{}", tensors.size(),
                what, NamesOf(tensors), what);
  }
  if (const v1::Tensor* tensor = FindTensor(tensors, name)) return *tensor;
  return Fail(Nerr::kInvalid, "the model has no {} '{}', but: {}", what, name, NamesOf(tensors));
}

}  // namespace nrtd::client
