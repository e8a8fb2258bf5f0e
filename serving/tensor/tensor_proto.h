// SPDX-License-Identifier: Apache-2.0
//
// Converts between Tensor and tensorflow.TensorProto.
#pragma once

#include <optional>
#include <string_view>

#include "proto/tensorflow/framework.pb.h"
#include "serving/tensor/tensor.h"

namespace nrtd::serving {

// Returns nothing for types that no network supports: strings, complex and quantised numbers,
// handles.
std::optional<DType> DTypeOf(tensorflow::DataType type);
tensorflow::DataType DataTypeOf(DType dtype);
// The name in messages of the original: "float", "double", "half", "int32".
std::string_view TypeName(DType dtype);
// "DT_FLOAT", or "DataType 77" for an unknown type.
std::string DataTypeName(tensorflow::DataType type);

// Moves the elements out of `proto`, without a copy if they are in tensor_content. As in the
// original, a typed field with too few elements is extended with its last one, and an empty one
// with zeros (up to 16 MiB). kInvalid if DTypeOf() does not know the type, the shape is negative,
// unknown or too large, there are more elements than the shape has, or tensor_content has another
// size.
Result<Tensor> TakeTensor(tensorflow::TensorProto& proto);

// Writes the typed field, like responses of the original.
void SetTyped(const Tensor& tensor, tensorflow::TensorProto* proto);
// kInvalid for an unknown rank. An unknown dimension is -1.
Result<Shape> ShapeOf(const tensorflow::TensorShapeProto& proto);
void SetShape(const Shape& shape, tensorflow::TensorShapeProto* proto);

}  // namespace nrtd::serving
