// SPDX-License-Identifier: Apache-2.0
//
// The wire carries tensors as raw bytes; the control service says what they are.
#pragma once

#include <cstdint>
#include <string_view>

#include <google/protobuf/repeated_ptr_field.h>

#include "base/dtype.h"
#include "base/error.h"
#include "proto/nrtd/v1/control.pb.h"

namespace nrtd::client {

using Tensors = google::protobuf::RepeatedPtrField<v1::Tensor>;

// Points into `tensors`; nullptr if none has this name.
const v1::Tensor* FindTensor(const Tensors& tensors, std::string_view name);

// kInvalid unless `bytes` of `dtype`, which came from `source`, are what `tensor` takes. Shapes may
// differ: leading ones are a matter of taste.
Result<void> CheckArray(const v1::Tensor& tensor, DType dtype, uint64_t bytes,
                        std::string_view source);

struct TensorForm {
  DType dtype = DType::kUInt8;
  Shape shape;
};
// The form of `bytes` bytes of `tensor`: its own if the sizes agree, else (or if it is nullptr)
// uint8 in one dimension, which loses nothing.
TensorForm FormOf(const v1::Tensor* tensor, uint64_t bytes);

// `name` if it is not empty and among `tensors`; the only one if it is empty. `what` ("input")
// is for the message.
Result<v1::Tensor> PickTensor(const Tensors& tensors, std::string_view name, std::string_view what);

}  // namespace nrtd::client
