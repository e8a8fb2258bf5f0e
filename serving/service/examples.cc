// SPDX-License-Identifier: Apache-2.0
#include "serving/service/examples.h"

#include "serving/tensor/tensor_proto.h"

namespace nrtd::serving {
namespace {

namespace tfs = ::tensorflow::serving;

template <typename Element, typename Values>
void Append(const Values& values, std::string* bytes) {
  for (const auto value : values) {
    const auto element = static_cast<Element>(value);
    bytes->append(reinterpret_cast<const char*>(&element), sizeof(element));
  }
}

// The original takes what a feature has for what the graph parses; here the signature says it.
Result<void> AppendFeature(const tensorflow::Feature& feature, const std::string& name, DType dtype,
                           uint64_t count, std::string* bytes) {
  const bool is_float = feature.kind_case() == tensorflow::Feature::kFloatList;
  if (!is_float && feature.kind_case() != tensorflow::Feature::kInt64List)
    return Fail(Nerr::kInvalid, "feature '{}' has no numbers, and no network takes bytes", name);
  const auto given = static_cast<uint64_t>(is_float ? feature.float_list().value_size()
                                                    : feature.int64_list().value_size());
  if (given != count) {
    return Fail(Nerr::kInvalid, "feature '{}' has {} values, and the signature takes {}", name,
                given, count);
  }
  const auto& floats = feature.float_list().value();
  const auto& integers = feature.int64_list().value();
  if (dtype == DType::kFloat32 && is_float) {
    Append<float>(floats, bytes);
  } else if (dtype == DType::kFloat32) {
    Append<float>(integers, bytes);
  } else if (dtype == DType::kInt64 && !is_float) {
    Append<int64_t>(integers, bytes);
  } else if (dtype == DType::kInt32 && !is_float) {
    for (const int64_t value : integers) {
      if (value != static_cast<int32_t>(value))
        return Fail(Nerr::kInvalid, "feature '{}' has {}, which int32 has not", name, value);
    }
    Append<int32_t>(integers, bytes);
  } else {
    return Fail(Nerr::kInvalid,
                "input '{}' is {}, and examples give float32, int32 and int64 (from {} here)", name,
                DTypeName(dtype), is_float ? "floats" : "integers");
  }
  return {};
}

const tensorflow::Example& ExampleAt(const tfs::Input& input, int index) {
  return input.has_example_list_with_context() ? input.example_list_with_context().examples(index)
                                               : input.example_list().examples(index);
}

Result<Tensor> TensorOf(const tfs::Input& input, const std::string& name, const TensorSpec& spec) {
  Shape shape = spec.shape;
  if (spec.unknown_rank || shape.empty()) {
    return Fail(Nerr::kInvalid,
                "input '{}' of the signature has no batch, and cannot take examples", name);
  }
  shape[0] = ExampleCount(input);
  const auto row = ElementCount(std::span<const int64_t>(shape).subspan(1));
  if (!row || *row * DTypeSize(spec.dtype) > kMaxTensorBytes)
    return Fail(Nerr::kInvalid, "input '{}' has rows of no fixed size: {}", name,
                ShapeText(spec.shape));
  std::string bytes;
  const auto& context = input.example_list_with_context().context().features().feature();
  for (int i = 0; i < shape[0]; ++i) {
    const auto& features = ExampleAt(input, i).features().feature();
    const auto own = features.find(name);
    const auto common = context.find(name);
    if (own == features.end() && common == context.end())
      return Fail(Nerr::kInvalid, "example {} has no feature '{}'", i, name);
    NRTD_TRY(AppendFeature(own == features.end() ? common->second : own->second, name, spec.dtype,
                           *row, &bytes));
    if (bytes.size() > kMaxTensorBytes)
      return Fail(Nerr::kInvalid, "feature '{}' has more than 2 GiB in all examples", name);
  }
  return Tensor::Make(spec.dtype, std::move(shape), std::move(bytes));
}

}  // namespace

int64_t ExampleCount(const tfs::Input& input) {
  return input.has_example_list_with_context() ? input.example_list_with_context().examples_size()
                                               : input.example_list().examples_size();
}

Result<Tensors> TensorsOf(const tfs::Input& input, const Signature& signature) {
  if (ExampleCount(input) == 0) return Fail(Nerr::kInvalid, "Input is empty.");
  Tensors tensors;
  for (const auto& [name, wanted] : signature.inputs) {
    NRTD_ASSIGN(Tensor tensor, TensorOf(input, name, wanted.spec));
    tensors.insert_or_assign(name, std::move(tensor));
  }
  return tensors;
}

Result<tfs::ClassificationResult> ClassesOf(const Tensors& outputs, int64_t rows) {
  const auto scores = outputs.contains("scores") ? outputs.find("scores") : outputs.begin();
  if (scores == outputs.end() || (outputs.size() > 1 && scores->first != "scores")) {
    return Fail(Nerr::kInvalid, "Expected classification signature outputs to contain \"scores\"");
  }
  const Tensor& tensor = scores->second;
  const Shape& shape = tensor.shape();
  if (shape.size() != 2) {
    return Fail(Nerr::kInvalid, "Expected Tensor shape: [batch_size num_classes] but got {}",
                ShapeText(shape));
  }
  if (tensor.dtype() != DType::kFloat32) {
    return Fail(Nerr::kInvalid, "Expected scores Tensor of DT_FLOAT. Got: {}",
                DataTypeName(DataTypeOf(tensor.dtype())));
  }
  if (shape[0] != rows) {
    return Fail(Nerr::kInvalid, "Expected scores output batch size of {}. Got: {}", rows, shape[0]);
  }
  tfs::ClassificationResult result;
  for (int64_t row = 0; row < rows; ++row) {
    tfs::Classifications& classes = *result.add_classifications();
    for (int64_t c = 0; c < shape[1]; ++c)
      classes.add_classes()->set_score(
          ElementAt<float>(tensor, static_cast<uint64_t>(row * shape[1] + c)));
  }
  return result;
}

Result<tfs::RegressionResult> ValuesOf(const Tensors& outputs, int64_t rows) {
  if (outputs.size() != 1) return Fail(Nerr::kInvalid, "Expected one output Tensor.");
  const Tensor& tensor = outputs.begin()->second;
  const Shape& shape = tensor.shape();
  if (shape.size() != 1 && !(shape.size() == 2 && shape[1] == 1)) {
    return Fail(Nerr::kInvalid,
                "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
                "{}",
                ShapeText(shape));
  }
  if (shape[0] != rows) {
    return Fail(Nerr::kInvalid, "Input batch size did not match output batch size: {} vs. {}", rows,
                shape[0]);
  }
  if (tensor.dtype() != DType::kFloat32) {
    return Fail(Nerr::kInvalid, "Expected output Tensor of DT_FLOAT.  Got: {}",
                DataTypeName(DataTypeOf(tensor.dtype())));
  }
  tfs::RegressionResult result;
  for (int64_t row = 0; row < rows; ++row)
    result.add_regressions()->set_value(ElementAt<float>(tensor, static_cast<uint64_t>(row)));
  return result;
}

}  // namespace nrtd::serving
