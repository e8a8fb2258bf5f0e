// SPDX-License-Identifier: Apache-2.0
#include "serving/graph/node_attributes.h"

namespace nrtd::serving {

namespace tf = ::tensorflow;

Result<TensorSpec> SpecOf(tf::DataType type, const tf::TensorShapeProto& shape) {
  const auto dtype = DTypeOf(type);
  if (!dtype)
    return Fail(Nerr::kInvalid, "elements of type {} are not supported", DataTypeName(type));
  TensorSpec spec{*dtype, {}, shape.unknown_rank()};
  for (const auto& dim : shape.dim()) {
    if (dim.size() < -1) return Fail(Nerr::kInvalid, "a dimension of {} elements", dim.size());
    spec.shape.push_back(dim.size());
  }
  return spec;
}

}  // namespace nrtd::serving
