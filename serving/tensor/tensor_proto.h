// SPDX-License-Identifier: Apache-2.0
//
// Between tensors and tensorflow.TensorProto.
#pragma once

#include <optional>
#include <string_view>

#include "proto/tensorflow/framework.pb.h"
#include "serving/tensor/tensor.h"

namespace nrtd::serving {

// Nothing for a type that no network takes: strings, complex and quantised numbers, handles.
std::optional<DType> DTypeOf(tensorflow::DataType type);
tensorflow::DataType DataTypeOf(DType dtype);
// "float", "double", "half", "int32": how messages of the original spell a type.
std::string_view TypeName(DType dtype);
// "DT_FLOAT"; "DataType 77" for one that has no name here.
std::string DataTypeName(tensorflow::DataType type);

// Takes the elements out of `proto`, without a copy where they are in tensor_content. As the
// original reads them: of a typed field with fewer elements than the shape has the last one
// repeats; with none of them all are zero (up to 16 MiB). kInvalid: a type that DTypeOf() does not
// know, a shape that is negative, unknown or too large, more elements than the shape has, another
// size of tensor_content.
Result<Tensor> TakeTensor(tensorflow::TensorProto& proto);

// Into the typed field, as the original answers.
void SetTyped(const Tensor& tensor, tensorflow::TensorProto* proto);
// kInvalid for an unknown rank; -1 stays for a dimension that may be any.
Result<Shape> ShapeOf(const tensorflow::TensorShapeProto& proto);
void SetShape(const Shape& shape, tensorflow::TensorShapeProto* proto);

}  // namespace nrtd::serving
