// SPDX-License-Identifier: Apache-2.0
#include "test/integration/networks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/file.h"

namespace nrtd::integration {
namespace {

std::vector<std::string> Rows(const NpyArray& array) {
  const std::string all = TextOf(array.data);
  const auto count = static_cast<size_t>(array.shape.at(0));
  const size_t bytes = all.size() / count;
  std::vector<std::string> rows;
  for (size_t i = 0; i < count; ++i) rows.push_back(all.substr(i * bytes, bytes));
  return rows;
}

void AddHandles(const LoadParts& parts, std::vector<nrt::load_request>& messages) {
  // The plugin always names a group; 0 asks for an implicit one.
  messages.emplace_back().mutable_h_eg()->set_id(parts.group);
  if (parts.session != 0) messages.emplace_back().set_session_id(parts.session);
}

void AddParameters(const LoadParts& parts, std::vector<nrt::load_request>& messages) {
  nrt::model_params& params = *messages.emplace_back().mutable_model_params();
  if (parts.timeout_s != 0) params.mutable_timeout()->set_data(parts.timeout_s);
  if (parts.ninfer != 0) params.mutable_ninfer()->set_data(parts.ninfer);
}

}  // namespace

std::string DigitsPath(const std::string& file) {
  return std::string(NRTD_SOURCE_DIR) + "/models/digits/" + file;
}

std::string CompileModel(const std::string& onnx_path, compiler::Fp32Cast cast) {
  const compiler::TemporaryFolder folder;
  const std::string path = folder.File("model.neff");
  compiler::CompileOptions options;
  options.fp32_cast = cast;
  Must(compiler::CompileOnnx(onnx_path, path, options));
  return TextOf(Must(ReadFile(path)));
}

neff::NeffContents SlowContents(int layers) {
  compiler::GraphWriter writer;
  writer.graph.name = "slow";
  std::vector<float> identity(kSlowSide * kSlowSide, 0.0F);
  for (size_t i = 0; i < kSlowSide; ++i) identity[i * kSlowSide + i] = 1.0F;
  const Shape square = {kSlowSide, kSlowSide};
  compiler::ValueId value = writer.Input("x", square);
  const compiler::ValueId weights = writer.Constant("w", square, identity);
  for (int i = 0; i < layers; ++i) {
    const std::string name = i + 1 == layers ? "y" : fmt::format("layer{}", i);
    value = writer.Node(name, compiler::MatMul{}, {value, weights}, square);
  }
  compiler::CompileOptions options;
  options.fp32_cast = compiler::Fp32Cast::kNone;
  return Must(compiler::CompileGraph(writer.Finish({value}), options)).contents;
}

std::string SlowNeff() {
  return TextOf(Must(neff::SerializeNeff(SlowContents())));
}

std::string EndlessNeff() {
  return TextOf(Must(neff::SerializeNeff(SlowContents(kEndlessLayers))));
}

std::string TextOf(const ByteVector& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void WriteText(const std::string& path, const std::string& text) {
  Must(WriteFileAtomically(path, AsBytes(text)));
}

std::vector<nrt::load_request> LoadMessages(const LoadParts& parts) {
  constexpr size_t kChunk = 1 << 20;
  std::vector<nrt::load_request> messages;
  AddHandles(parts, messages);
  messages.emplace_back().set_neff_size(parts.neff.size());
  AddParameters(parts, messages);
  for (size_t at = 0; at < parts.neff.size(); at += kChunk)
    messages.emplace_back().mutable_neff_chunk()->set_chunk(parts.neff.substr(at, kChunk));
  return messages;
}

std::vector<nrt::load_request> LoadFileMessages(const std::string& path, const LoadParts& parts) {
  std::vector<nrt::load_request> messages;
  AddHandles(parts, messages);
  AddParameters(parts, messages);
  messages.emplace_back().set_neff_file(path);
  return messages;
}

nrt::infer_request InferRequest(uint32_t network, const Tensors& inputs) {
  nrt::infer_request request;
  request.mutable_h_nn()->set_id(network);
  for (const auto& [name, bytes] : inputs) {
    nrt::infer_io& tensor = *request.add_ifmap();
    tensor.set_name(name);
    tensor.set_buf(bytes);
  }
  return request;
}

nrt::infer_request SlowInput(uint32_t network) {
  return InferRequest(network, {{"x", std::string(kSlowSide * kSlowSide * sizeof(float), '\0')}});
}

nrt::infer_io SharedTensor(const std::string& name, const std::string& path) {
  nrt::infer_io tensor;
  tensor.set_name(name);
  tensor.mutable_buf_shm()->set_path(path);
  return tensor;
}

std::vector<float> FloatsOf(std::string_view bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

std::string BytesOf(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

Digits::Digits() : images(Rows(Must(ReadNpyFile(DigitsPath("images.npy"))))) {
  for (const std::string& row : Rows(Must(ReadNpyFile(DigitsPath("reference_output.npy")))))
    references.push_back(FloatsOf(row));
  const NpyArray numbers = Must(ReadNpyFile(DigitsPath("labels.npy")));
  labels.resize(numbers.data.size() / sizeof(int64_t));
  std::memcpy(labels.data(), numbers.data.data(), numbers.data.size());
}

double RelativeError(const std::vector<float>& actual, const std::vector<float>& expected) {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  if (actual.size() != expected.size()) return kInfinite;
  double difference = 0;
  double magnitude = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    if (std::isnan(actual[i])) return kInfinite;
    difference = std::max(difference, std::fabs(double{actual[i]} - double{expected[i]}));
    magnitude = std::max(magnitude, std::fabs(double{expected[i]}));
  }
  return magnitude == 0 ? difference : difference / magnitude;
}

size_t ArgMax(const std::vector<float>& values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

}  // namespace nrtd::integration
