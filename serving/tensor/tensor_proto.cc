// SPDX-License-Identifier: Apache-2.0
#include "serving/tensor/tensor_proto.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include <fmt/format.h>

#include "base/sizes.h"

namespace nrtd::serving {
namespace {

namespace tf = ::tensorflow;

// A few bytes of a message must not make gigabytes.
constexpr uint64_t kMaxRepeatedBytes = 16 * kMiB;

struct TypePair {
  tf::DataType data_type;
  DType dtype;
};
constexpr TypePair kTypes[] = {
    {tf::DT_FLOAT, DType::kFloat32},     {tf::DT_DOUBLE, DType::kFloat64},
    {tf::DT_INT32, DType::kInt32},       {tf::DT_UINT8, DType::kUInt8},
    {tf::DT_INT16, DType::kInt16},       {tf::DT_INT8, DType::kInt8},
    {tf::DT_INT64, DType::kInt64},       {tf::DT_BOOL, DType::kBool},
    {tf::DT_UINT16, DType::kUInt16},     {tf::DT_HALF, DType::kFloat16},
    {tf::DT_UINT32, DType::kUInt32},     {tf::DT_UINT64, DType::kUInt64},
    {tf::DT_BFLOAT16, DType::kBFloat16},
};

// Calls visit(field, element) with the typed field of `dtype` and a value of the type of elements.
template <typename Proto, typename Visit>
void VisitField(DType dtype, Proto& proto, const Visit& visit) {
  switch (dtype) {
    case DType::kFloat32:
      return visit(proto.float_val(), float{});
    case DType::kFloat64:
      return visit(proto.double_val(), double{});
    case DType::kInt8:
      return visit(proto.int_val(), int8_t{});
    case DType::kUInt8:
      return visit(proto.int_val(), uint8_t{});
    case DType::kInt16:
      return visit(proto.int_val(), int16_t{});
    case DType::kUInt16:
      return visit(proto.int_val(), uint16_t{});
    case DType::kInt32:
      return visit(proto.int_val(), int32_t{});
    case DType::kInt64:
      return visit(proto.int64_val(), int64_t{});
    case DType::kUInt32:
      return visit(proto.uint32_val(), uint32_t{});
    case DType::kUInt64:
      return visit(proto.uint64_val(), uint64_t{});
    case DType::kBool:
      return visit(proto.bool_val(), uint8_t{});
    case DType::kFloat16:
    case DType::kBFloat16:
      return visit(proto.half_val(), uint16_t{});
  }
}

// `bytes` as values of the typed field.
template <typename Element, typename Field>
void Fill(const std::string& bytes, Field* field) {
  const auto count = static_cast<int>(bytes.size() / sizeof(Element));
  field->Resize(count, {});
  if constexpr (std::is_same_v<std::decay_t<decltype(*field->begin())>, Element>) {
    std::memcpy(field->mutable_data(), bytes.data(), bytes.size());
  } else {
    for (int i = 0; i < count; ++i) {
      Element value{};
      std::memcpy(&value, bytes.data() + static_cast<size_t>(i) * sizeof(Element), sizeof(Element));
      field->Set(i, value);
    }
  }
}

// The elements of the typed field, the last one repeated up to `count`.
Result<std::string> ElementsOf(const tf::TensorProto& proto, DType dtype, uint64_t count) {
  const uint64_t bytes_for = count * DTypeSize(dtype);
  std::string bytes;
  Result<void> fits;
  VisitField(dtype, proto, [&](const auto& field, auto element) {
    using Element = decltype(element);
    const auto given = static_cast<uint64_t>(field.size());
    if (given > count) {
      fits = Fail(Nerr::kInvalid, "{} values are given for {} elements", given, count);
      return;
    }
    if (given < count && bytes_for > kMaxRepeatedBytes) {
      fits = Fail(Nerr::kInvalid,
                  "{} values are given for {} elements: only tensors of up to {} "
                  "bytes are filled up",
                  given, count, kMaxRepeatedBytes);
      return;
    }
    bytes.resize(bytes_for);
    if (given == 0) return;
    char* at = bytes.data();
    if constexpr (std::is_same_v<std::decay_t<decltype(*field.begin())>, Element>) {
      std::memcpy(at, field.data(), given * sizeof(Element));
    } else {
      for (uint64_t i = 0; i < given; ++i) {
        const auto value = static_cast<Element>(field.Get(static_cast<int>(i)));
        std::memcpy(at + i * sizeof(Element), &value, sizeof(Element));
      }
    }
    const auto last = static_cast<Element>(field.Get(static_cast<int>(given - 1)));
    for (uint64_t i = given; i < count; ++i)
      std::memcpy(at + i * sizeof(Element), &last, sizeof(Element));
  });
  if (!fits) return tl::unexpected<Error>(std::move(fits.error()));
  return bytes;
}

bool HasTypedValues(const tf::TensorProto& proto, DType dtype) {
  bool has = false;
  VisitField(dtype, proto, [&](const auto& field, auto) { has = !field.empty(); });
  return has;
}

}  // namespace

std::optional<DType> DTypeOf(tf::DataType type) {
  for (const TypePair& pair : kTypes)
    if (pair.data_type == type) return pair.dtype;
  return std::nullopt;
}

tf::DataType DataTypeOf(DType dtype) {
  for (const TypePair& pair : kTypes)
    if (pair.dtype == dtype) return pair.data_type;
  return tf::DT_INVALID;
}

std::string_view TypeName(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return "float";
    case DType::kFloat64:
      return "double";
    case DType::kFloat16:
      return "half";
    default:
      return DTypeName(dtype);
  }
}

std::string DataTypeName(tf::DataType type) {
  const std::string& name = tf::DataType_Name(type);
  return name.empty() ? fmt::format("DataType {}", static_cast<int>(type)) : name;
}

Result<Shape> ShapeOf(const tf::TensorShapeProto& proto) {
  if (proto.unknown_rank()) return Fail(Nerr::kInvalid, "the shape has no known rank");
  Shape shape;
  for (const auto& dim : proto.dim()) shape.push_back(dim.size());
  return shape;
}

void SetShape(const Shape& shape, tf::TensorShapeProto* proto) {
  proto->Clear();
  for (const int64_t size : shape) proto->add_dim()->set_size(size);
}

Result<Tensor> TakeTensor(tf::TensorProto& proto) {
  const auto dtype = DTypeOf(proto.dtype());
  if (!dtype)
    return Fail(Nerr::kInvalid, "elements of type {} are not supported",
                DataTypeName(proto.dtype()));
  NRTD_ASSIGN(Shape shape, ShapeOf(proto.tensor_shape()));
  const auto count = ElementCount(shape);
  const auto size = count ? CheckedMultiply(*count, DTypeSize(*dtype)) : std::nullopt;
  if (!size || *size > kMaxTensorBytes)
    return Fail(Nerr::kInvalid, "the shape {} is negative or too large", ShapeText(shape));
  if (!proto.tensor_content().empty() || !HasTypedValues(proto, *dtype)) {
    std::string content = std::move(*proto.mutable_tensor_content());
    if (content.empty()) content.resize(*size);
    if (content.size() != *size) {
      return Fail(Nerr::kInvalid, "tensor_content has {} bytes, and {} {} takes {}", content.size(),
                  DTypeName(*dtype), ShapeText(shape), *size);
    }
    return Tensor(*dtype, std::move(shape), std::move(content));
  }
  NRTD_ASSIGN(std::string bytes, ElementsOf(proto, *dtype, *count));
  return Tensor(*dtype, std::move(shape), std::move(bytes));
}

void SetTyped(const Tensor& tensor, tf::TensorProto* proto) {
  proto->Clear();
  proto->set_dtype(DataTypeOf(tensor.dtype()));
  SetShape(tensor.shape(), proto->mutable_tensor_shape());
  const std::string& bytes = tensor.bytes();
  switch (tensor.dtype()) {
    case DType::kFloat32:
      return Fill<float>(bytes, proto->mutable_float_val());
    case DType::kFloat64:
      return Fill<double>(bytes, proto->mutable_double_val());
    case DType::kInt8:
      return Fill<int8_t>(bytes, proto->mutable_int_val());
    case DType::kUInt8:
      return Fill<uint8_t>(bytes, proto->mutable_int_val());
    case DType::kInt16:
      return Fill<int16_t>(bytes, proto->mutable_int_val());
    case DType::kUInt16:
      return Fill<uint16_t>(bytes, proto->mutable_int_val());
    case DType::kInt32:
      return Fill<int32_t>(bytes, proto->mutable_int_val());
    case DType::kInt64:
      return Fill<int64_t>(bytes, proto->mutable_int64_val());
    case DType::kUInt32:
      return Fill<uint32_t>(bytes, proto->mutable_uint32_val());
    case DType::kUInt64:
      return Fill<uint64_t>(bytes, proto->mutable_uint64_val());
    case DType::kBool:
      return Fill<uint8_t>(bytes, proto->mutable_bool_val());
    case DType::kFloat16:
    case DType::kBFloat16:
      return Fill<uint16_t>(bytes, proto->mutable_half_val());
  }
}

}  // namespace nrtd::serving
