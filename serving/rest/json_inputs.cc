// SPDX-License-Identifier: Apache-2.0
#include "serving/rest/json_inputs.h"

#include <cstring>
#include <limits>
#include <span>

#include <fmt/ranges.h>

#include "serving/tensor/tensor_proto.h"

namespace nrtd::serving {
namespace {

namespace tfs = ::tensorflow::serving;
using rapidjson::Value;

bool IsPlain(const Value& value) {
  return !value.IsObject() || IsBase64(value);
}

template <typename Integer>
bool InRange(int64_t value) {
  return value >= std::numeric_limits<Integer>::min() &&
         value <= std::numeric_limits<Integer>::max();
}

template <typename Element>
bool Put(char* to, Element element) {
  std::memcpy(to, &element, sizeof(element));
  return true;
}

// False: the value is no such element.
bool PutElement(const Value& value, DType dtype, char* to) {
  switch (dtype) {
    case DType::kFloat32:
      return value.IsNumber() && Put(to, static_cast<float>(value.GetDouble()));
    case DType::kFloat64:
      return value.IsNumber() && Put(to, value.GetDouble());
    case DType::kFloat16:
      return value.IsNumber() && Put(to, FloatToHalf(static_cast<float>(value.GetDouble())));
    case DType::kBFloat16:
      return value.IsNumber() && Put(to, FloatToBFloat16(static_cast<float>(value.GetDouble())));
    case DType::kInt8:
      return value.IsInt() && InRange<int8_t>(value.GetInt()) &&
             Put(to, static_cast<int8_t>(value.GetInt()));
    case DType::kUInt8:
      return value.IsInt() && InRange<uint8_t>(value.GetInt()) &&
             Put(to, static_cast<uint8_t>(value.GetInt()));
    case DType::kInt16:
      return value.IsInt() && InRange<int16_t>(value.GetInt()) &&
             Put(to, static_cast<int16_t>(value.GetInt()));
    case DType::kUInt16:
      return value.IsInt() && InRange<uint16_t>(value.GetInt()) &&
             Put(to, static_cast<uint16_t>(value.GetInt()));
    case DType::kInt32:
      return value.IsInt() && Put(to, value.GetInt());
    case DType::kUInt32:
      return value.IsUint() && Put(to, value.GetUint());
    case DType::kInt64:
      return value.IsInt64() && Put(to, value.GetInt64());
    case DType::kUInt64:
      return value.IsUint64() && Put(to, value.GetUint64());
    case DType::kBool:
      return value.IsBool() && Put(to, static_cast<uint8_t>(value.GetBool()));
  }
  return false;
}

// What the first elements of a value say.
Shape ShapeOfValue(const Value& value) {
  Shape shape;
  for (const Value* at = &value; at->IsArray(); at = &(*at)[0]) {
    shape.push_back(at->Size());
    if (at->Empty()) break;
  }
  return shape;
}

// Fills in the elements of a value of a shape.
class Filler {
 public:
  Filler(DType dtype, const Shape& shape, std::string* bytes)
      : dtype_(dtype), size_(DTypeSize(dtype)), shape_(shape), bytes_(bytes) {}

  Result<void> Fill(const Value& value, size_t level) {
    if (!value.IsArray()) {
      if (level != shape_.size()) {
        return Fail_(
            "JSON Value: {} found at incorrect level: {} in the JSON DOM. Expected at level: {}",
            JsonText(value), level, shape_.size());
      }
      const size_t at = bytes_->size();
      bytes_->resize(at + size_);
      if (PutElement(value, dtype_, bytes_->data() + at)) return {};
      return Fail_("JSON Value: {} Type: {} is not of expected type: {}", JsonText(value),
                   JsonTypeName(value), TypeName(dtype_));
    }
    if (level >= shape_.size())
      return Fail_("Encountered list at unexpected level: {} expected < {}", level, shape_.size());
    if (value.Size() != static_cast<uint64_t>(shape_[level])) {
      return Fail_("Encountered list at unexpected size: {} at level: {} expected size: {}",
                   value.Size(), level, shape_[level]);
    }
    for (const Value& element : value.GetArray()) NRTD_TRY(Fill(element, level + 1));
    return {};
  }

 private:
  // Texts of values are long, and escaped where they are answered.
  template <typename... Args>
  static tl::unexpected<Error> Fail_(fmt::format_string<Args...> format, Args&&... args) {
    return tl::unexpected<Error>(
        Error{Nerr::kInvalid, fmt::format(format, std::forward<Args>(args)...)});
  }

  const DType dtype_;
  const uint64_t size_;
  const Shape& shape_;
  std::string* const bytes_;
};

tl::unexpected<Error> Refuse(std::string text) {
  return tl::unexpected<Error>(Error{Nerr::kInvalid, std::move(text)});
}

Result<Tensor> TensorOf(const Value& value, DType dtype) {
  Shape shape = ShapeOfValue(value);
  std::string bytes;
  NRTD_TRY(Filler(dtype, shape, &bytes).Fill(value, 0));
  return Tensor::Make(dtype, std::move(shape), std::move(bytes));
}

// A tensor that grows row by row.
struct Rows {
  DType dtype = DType::kFloat32;
  Shape shape;  // of a row
  std::string bytes;
  int64_t count = 0;

  Result<void> Add(const Value& value) {
    const Shape given = ShapeOfValue(value);
    if (count == 0) shape = given;
    if (given != shape) {
      return Refuse(
          fmt::format("Expecting shape {} but got: {}", ShapeText(shape), ShapeText(given)));
    }
    ++count;
    return Filler(dtype, shape, &bytes).Fill(value, 0);
  }
};

std::string InputNames(const Signature& signature) {
  std::vector<std::string> names;
  for (const auto& [name, input] : signature.inputs) names.push_back(name);
  return fmt::format("{}", fmt::join(names, ","));
}

// An instance that is an object has a value for each input.
Result<void> AddObject(const Value& instance, size_t item, const Signature& signature,
                       std::map<std::string, Rows>* rows) {
  bool has_all = instance.MemberCount() == signature.inputs.size();
  for (const auto& [name, input] : signature.inputs)
    has_all = has_all && instance.HasMember(name.c_str());
  if (!has_all) {
    return Refuse(fmt::format(
        "Failed to process element: {} of 'instances' list. JSON object: {} keys must be equal to: "
        "{}",
        item, JsonText(instance), InputNames(signature)));
  }
  for (const auto& [name, input] : signature.inputs) {
    if (auto added = (*rows)[name].Add(instance[name.c_str()]); !added) {
      return Refuse(fmt::format(
          "Failed to process element: {} key: {} of 'instances' list. Error: Invalid argument: {}",
          item, name, added.error().text));
    }
  }
  return {};
}

Result<Tensors> RowTensors(const Value& instances, const Signature& signature) {
  if (!instances.IsArray()) {
    return Refuse(fmt::format("JSON Value: {} Excepting 'instances' to be an list/array",
                              JsonText(instances)));
  }
  if (instances.Empty()) {
    return Refuse(
        fmt::format("JSON Value: {} No values in 'instances' array", JsonText(instances)));
  }
  const bool plain = IsPlain(instances[0]);
  if (plain && signature.inputs.size() > 1) {
    return Refuse(
        "instances is a plain list, but expecting list of objects as multiple input tensors "
        "required as per tensorinfo_map");
  }
  std::map<std::string, Rows> rows;
  for (const auto& [name, input] : signature.inputs) rows[name].dtype = input.spec.dtype;
  for (rapidjson::SizeType i = 0; i < instances.Size(); ++i) {
    const Value& instance = instances[i];
    if (IsPlain(instance) != plain) {
      return Refuse(fmt::format("Expecting {} but got {} at item {} of input list",
                                plain ? "value/list" : "object", plain ? "object" : "list", i));
    }
    if (!plain) {
      NRTD_TRY(AddObject(instance, i, signature, &rows));
    } else if (auto added = rows.begin()->second.Add(instance); !added) {
      return Refuse(fmt::format(
          "Failed to process element: {} of 'instances' list. Error: Invalid argument: {}", i,
          added.error().text));
    }
  }
  Tensors tensors;
  for (auto& [name, row] : rows) {
    Shape shape = row.shape;
    shape.insert(shape.begin(), row.count);
    NRTD_ASSIGN(Tensor tensor, Tensor::Make(row.dtype, std::move(shape), std::move(row.bytes)));
    tensors.insert_or_assign(name, std::move(tensor));
  }
  return tensors;
}

Result<Tensors> ColumnTensors(const Value& inputs, const Signature& signature) {
  Tensors tensors;
  if (IsPlain(inputs)) {
    if (signature.inputs.size() > 1) {
      return Refuse(
          "inputs is a plain value/list, but expecting an object as multiple input tensors "
          "required as per tensorinfo_map");
    }
    const auto& [name, input] = *signature.inputs.begin();
    NRTD_ASSIGN(Tensor tensor, TensorOf(inputs, input.spec.dtype));
    tensors.insert_or_assign(name, std::move(tensor));
    return tensors;
  }
  for (const auto& [name, input] : signature.inputs) {
    const auto member = inputs.FindMember(name.c_str());
    if (member == inputs.MemberEnd())
      return Refuse(fmt::format("Missing named input: {} in 'inputs' object.", name));
    NRTD_ASSIGN(Tensor tensor, TensorOf(member->value, input.spec.dtype));
    tensors.insert_or_assign(name, std::move(tensor));
  }
  return tensors;
}

Result<void> AddValue(const Value& value, const std::string& name, tensorflow::Feature* feature) {
  using tensorflow::Feature;
  const auto fits = [&](Feature::KindCase kind) {
    return feature->kind_case() == Feature::KIND_NOT_SET || feature->kind_case() == kind;
  };
  if (value.IsBool() && fits(Feature::kInt64List)) {
    feature->mutable_int64_list()->add_value(value.GetBool() ? 1 : 0);
  } else if (value.IsInt64() && fits(Feature::kInt64List)) {
    feature->mutable_int64_list()->add_value(value.GetInt64());
  } else if (value.IsUint64()) {
    return Refuse(fmt::format("Feature: {} has uint64 element. Only int64 is supported.", name));
  } else if (value.IsDouble() && fits(Feature::kFloatList)) {
    feature->mutable_float_list()->add_value(static_cast<float>(value.GetDouble()));
  } else if (value.IsString() && fits(Feature::kBytesList)) {
    feature->mutable_bytes_list()->add_value(value.GetString(), value.GetStringLength());
  } else if (IsBase64(value) && fits(Feature::kBytesList)) {
    NRTD_ASSIGN(std::string bytes,
                DecodeBase64({value["b64"].GetString(), value["b64"].GetStringLength()}));
    feature->mutable_bytes_list()->add_value(std::move(bytes));
  } else if (value.IsNumber() || value.IsString() || value.IsBool() || IsBase64(value)) {
    const char* const kind = feature->has_bytes_list()   ? "bytes"
                             : feature->has_float_list() ? "float"
                             : feature->has_int64_list() ? "int64"
                                                         : "UNKNOWN";
    return Refuse(
        fmt::format("Unexpected element type in feature: {} expecting type: {}", name, kind));
  } else {
    return Refuse(fmt::format("Feature: {} has element with unexpected JSON type: {}", name,
                              JsonTypeName(value)));
  }
  return {};
}

Result<void> ReadExample(const Value& value, tensorflow::Example* example) {
  if (!value.IsObject()) {
    return Refuse(fmt::format("Example must be JSON object but got JSON {}", JsonTypeName(value)));
  }
  for (const auto& member : value.GetObject()) {
    const std::string name(member.name.GetString(), member.name.GetStringLength());
    tensorflow::Feature& feature = (*example->mutable_features()->mutable_feature())[name];
    if (!member.value.IsArray()) {
      NRTD_TRY(AddValue(member.value, name, &feature));
      continue;
    }
    for (const Value& element : member.value.GetArray())
      NRTD_TRY(AddValue(element, name, &feature));
  }
  return {};
}

}  // namespace

Result<JsonInputs> InputsOf(const Value& body, const std::string& signature_name,
                            const Signature& signature) {
  const auto instances = body.FindMember("instances");
  const auto inputs = body.FindMember("inputs");
  if (signature.inputs.empty()) {
    return Refuse(fmt::format("Failed to get input map for signature: {}",
                              signature_name.empty() ? "DEFAULT" : signature_name));
  }
  if (instances != body.MemberEnd() && inputs != body.MemberEnd()) {
    return Refuse(fmt::format(
        "JSON Value: {} Not formatted correctly expecting only one of 'inputs' or 'instances' keys "
        "to exist ",
        JsonText(body)));
  }
  if (instances != body.MemberEnd()) {
    NRTD_ASSIGN(Tensors tensors, RowTensors(instances->value, signature));
    return JsonInputs{JsonForm::kRow, std::move(tensors)};
  }
  if (inputs == body.MemberEnd()) return Refuse("Missing 'inputs' or 'instances' key");
  NRTD_ASSIGN(Tensors tensors, ColumnTensors(inputs->value, signature));
  return JsonInputs{JsonForm::kColumn, std::move(tensors)};
}

Result<tfs::Input> ExamplesOf(const Value& body, const std::string& method) {
  const auto examples = body.FindMember("examples");
  if (examples == body.MemberEnd()) {
    return Refuse(fmt::format(
        "JSON Value: {} When method is {}, key 'examples' is expected and was not found",
        JsonText(body), method));
  }
  if (!examples->value.IsArray()) {
    return Refuse(fmt::format("JSON Value: {} Expecting 'examples' value to be an list/array",
                              JsonText(body)));
  }
  if (examples->value.Empty()) {
    return Refuse(fmt::format("JSON Value: {} 'examples' value is an empty array", JsonText(body)));
  }
  tfs::Input input;
  const auto context = body.FindMember("context");
  if (context != body.MemberEnd()) {
    NRTD_TRY(
        ReadExample(context->value, input.mutable_example_list_with_context()->mutable_context()));
  }
  for (const Value& example : examples->value.GetArray()) {
    NRTD_TRY(ReadExample(example, input.has_example_list_with_context()
                                      ? input.mutable_example_list_with_context()->add_examples()
                                      : input.mutable_example_list()->add_examples()));
  }
  return input;
}

}  // namespace nrtd::serving
