// SPDX-License-Identifier: Apache-2.0
#include "serving/rest/json_answers.h"

#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>

#include "serving/rest/json.h"

namespace nrtd::serving {
namespace {

namespace tfs = ::tensorflow::serving;

using Writer = rapidjson::PrettyWriter<rapidjson::StringBuffer>;

void WriteDecimal(const std::string& text, Writer& writer) {
  writer.RawValue(text.data(), text.size(), rapidjson::kNumberType);
}

void WriteElement(const Tensor& tensor, uint64_t index, Writer& writer) {
  switch (tensor.dtype()) {
    case DType::kFloat32:
      return WriteDecimal(DecimalText(ElementAt<float>(tensor, index)), writer);
    case DType::kFloat64:
      return WriteDecimal(DecimalText(ElementAt<double>(tensor, index)), writer);
    case DType::kFloat16:
      return WriteDecimal(DecimalText(HalfToFloat(ElementAt<uint16_t>(tensor, index))), writer);
    case DType::kBFloat16:
      return WriteDecimal(DecimalText(BFloat16ToFloat(ElementAt<uint16_t>(tensor, index))), writer);
    case DType::kInt8:
      return void(writer.Int(ElementAt<int8_t>(tensor, index)));
    case DType::kUInt8:
      return void(writer.Int(ElementAt<uint8_t>(tensor, index)));
    case DType::kInt16:
      return void(writer.Int(ElementAt<int16_t>(tensor, index)));
    case DType::kUInt16:
      return void(writer.Int(ElementAt<uint16_t>(tensor, index)));
    case DType::kInt32:
      return void(writer.Int(ElementAt<int32_t>(tensor, index)));
    case DType::kUInt32:
      return void(writer.Uint(ElementAt<uint32_t>(tensor, index)));
    case DType::kInt64:
      return void(writer.Int64(ElementAt<int64_t>(tensor, index)));
    case DType::kUInt64:
      return void(writer.Uint64(ElementAt<uint64_t>(tensor, index)));
    case DType::kBool:
      return void(writer.Bool(ElementAt<uint8_t>(tensor, index) != 0));
  }
}

// Elements from `*index` on, in arrays as dimensions from `level` on say.
void WriteArrays(const Tensor& tensor, size_t level, uint64_t* index, Writer& writer) {
  if (level == tensor.shape().size()) return WriteElement(tensor, (*index)++, writer);
  writer.StartArray();
  for (int64_t i = 0; i < tensor.shape()[level]; ++i) WriteArrays(tensor, level + 1, index, writer);
  writer.EndArray();
}

void Key(const std::string& name, Writer& writer) {
  writer.Key(name.data(), static_cast<rapidjson::SizeType>(name.size()));
}

Result<int64_t> RowsOfAll(const Tensors& outputs) {
  int64_t rows = -1;
  for (const auto& [name, tensor] : outputs) {
    if (tensor.shape().empty())
      return Fail(Nerr::kInvalid, "Tensor name: {} has no shape information ", name);
    if (rows == -1) rows = tensor.shape()[0];
    if (tensor.shape()[0] != rows) {
      return Fail(Nerr::kInvalid, "Tensor name: {} has inconsistent batch size: {} expecting: {}",
                  name, tensor.shape()[0], rows);
    }
  }
  return rows;
}

// Rows are arrays in a line each; only what is around them is indented.
Result<void> WriteRows(const Tensors& outputs, Writer& writer) {
  NRTD_ASSIGN(const int64_t rows, RowsOfAll(outputs));
  std::map<std::string, uint64_t> at;
  writer.Key("predictions");
  writer.StartArray();
  for (int64_t row = 0; row < rows; ++row) {
    if (outputs.size() > 1) writer.StartObject();
    writer.SetFormatOptions(rapidjson::kFormatSingleLineArray);
    for (const auto& [name, tensor] : outputs) {
      if (outputs.size() > 1) Key(name, writer);
      WriteArrays(tensor, 1, &at[name], writer);
    }
    if (outputs.size() > 1) {
      writer.SetFormatOptions(rapidjson::kFormatDefault);
      writer.EndObject();
    }
  }
  writer.SetFormatOptions(rapidjson::kFormatDefault);
  writer.EndArray();
  return {};
}

void WriteColumns(const Tensors& outputs, Writer& writer) {
  writer.Key("outputs");
  if (outputs.size() > 1) writer.StartObject();
  for (const auto& [name, tensor] : outputs) {
    if (outputs.size() > 1) Key(name, writer);
    uint64_t index = 0;
    WriteArrays(tensor, 0, &index, writer);
  }
  if (outputs.size() > 1) writer.EndObject();
}

std::string Text(const rapidjson::StringBuffer& buffer) {
  return {buffer.GetString(), buffer.GetSize()};
}

}  // namespace

Result<std::string> PredictBody(JsonForm form, const Tensors& outputs) {
  if (outputs.empty()) return Fail(Nerr::kInvalid, "Cannot convert empty tensor map to JSON");
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  writer.StartObject();
  if (form == JsonForm::kRow) {
    NRTD_TRY(WriteRows(outputs, writer));
  } else {
    WriteColumns(outputs, writer);
  }
  writer.EndObject();
  return Text(buffer);
}

std::string ClassifyBody(const tfs::ClassificationResult& result) {
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  writer.StartObject();
  writer.Key("results");
  writer.StartArray();
  writer.SetFormatOptions(rapidjson::kFormatSingleLineArray);
  for (const tfs::Classifications& row : result.classifications()) {
    writer.StartArray();
    for (const tfs::Class& one : row.classes()) {
      writer.StartArray();
      writer.String(one.label().data(), static_cast<rapidjson::SizeType>(one.label().size()));
      WriteDecimal(DecimalText(one.score()), writer);
      writer.EndArray();
    }
    writer.EndArray();
  }
  writer.SetFormatOptions(rapidjson::kFormatDefault);
  writer.EndArray();
  writer.EndObject();
  return Text(buffer);
}

std::string RegressBody(const tfs::RegressionResult& result) {
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  writer.StartObject();
  writer.Key("results");
  writer.SetFormatOptions(rapidjson::kFormatSingleLineArray);
  writer.StartArray();
  for (const tfs::Regression& row : result.regressions())
    WriteDecimal(DecimalText(row.value()), writer);
  writer.EndArray();
  writer.SetFormatOptions(rapidjson::kFormatDefault);
  writer.EndObject();
  return Text(buffer);
}

std::string ErrorBody(const std::string& text) {
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  writer.StartObject();
  writer.Key("error");
  writer.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
  writer.EndObject();
  return Text(buffer);
}

}  // namespace nrtd::serving
