// SPDX-License-Identifier: Apache-2.0
//
// What readers of a SavedModel's nodes share.
#pragma once

#include <cstdint>

#include "proto/tensorflow/framework.pb.h"
#include "serving/graph/graph.h"
#include "serving/tensor/tensor_proto.h"

namespace nrtd::serving {

// A node's attributes, with errors that name them.
class Attributes {
 public:
  explicit Attributes(const tensorflow::NodeDef& node) : node_(node) {}

  const tensorflow::AttrValue* Find(const char* name) const {
    const auto found = node_.attr().find(name);
    return found == node_.attr().end() ? nullptr : &found->second;
  }
  Result<DType> Type(const char* name) const {
    const tensorflow::AttrValue* value = Find(name);
    if (value == nullptr) return Fail(Nerr::kInvalid, "attribute '{}' is missing", name);
    const auto dtype = DTypeOf(value->type());
    if (!dtype) {
      return Fail(Nerr::kInvalid, "attribute '{}': elements of type {} are not supported", name,
                  DataTypeName(value->type()));
    }
    return *dtype;
  }
  Result<DType> TypeOr(const char* name, DType otherwise) const {
    return Find(name) == nullptr ? Result<DType>(otherwise) : Type(name);
  }
  int64_t Int(const char* name, int64_t otherwise) const {
    const tensorflow::AttrValue* value = Find(name);
    return value == nullptr ? otherwise : value->i();
  }
  bool Bool(const char* name) const {
    const tensorflow::AttrValue* value = Find(name);
    return value != nullptr && value->b();
  }
  const tensorflow::AttrValue::ListValue& List(const char* name) const {
    const tensorflow::AttrValue* value = Find(name);
    return value == nullptr ? tensorflow::AttrValue::ListValue::default_instance() : value->list();
  }

 private:
  const tensorflow::NodeDef& node_;
};

// kInvalid: a type of elements that no tensor here has, or a dimension below -1.
Result<TensorSpec> SpecOf(tensorflow::DataType type, const tensorflow::TensorShapeProto& shape);

}  // namespace nrtd::serving
