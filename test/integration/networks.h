// SPDX-License-Identifier: Apache-2.0
//
// The networks that the tests load, and the messages that carry them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/npy.h"
#include "compiler/compile.h"
#include "neff/writer.h"
#include "proto/nrt/nmgr.pb.h"
#include "test/compiler/cases.h"
#include "test/must.h"

namespace nrtd::integration {

std::string DigitsPath(const std::string& file);  // models/digits/<file>

// The bytes of a NEFF, compiled now.
std::string CompileModel(const std::string& onnx_path,
                         compiler::Fp32Cast cast = compiler::Fp32Cast::kNone);
inline std::string CompileDigits(compiler::Fp32Cast cast = compiler::Fp32Cast::kNone) {
  return CompileModel(DigitsPath("digits.onnx"), cast);
}
inline std::string CompileCase(const std::string& name) {
  return CompileModel(compiler::ModelOf(name));
}

// A network that takes its time: multiplies "x", a square matrix of kSlowSide, by the identity
// kSlowLayers times and answers it as "y". Over 1 MiB, so that it is sent in several chunks.
inline constexpr int64_t kSlowSide = 512;
inline constexpr int kSlowLayers = 48;
neff::NeffContents SlowContents(int layers = kSlowLayers);
std::string SlowNeff();
// The same with so many layers that one inference takes several seconds.
inline constexpr int kEndlessLayers = 30 * kSlowLayers;
std::string EndlessNeff();

std::string TextOf(const ByteVector& bytes);
void WriteText(const std::string& path, const std::string& text);

// A load as the TensorFlow plugin streams it: group, session, size, parameters, chunks of 1 MiB.
struct LoadParts {
  std::string neff = {};
  uint32_t group = 0;
  uint64_t session = 0;
  uint32_t ninfer = 0;     // 0: not said
  uint32_t timeout_s = 0;  // 0: not said
};
std::vector<nrt::load_request> LoadMessages(const LoadParts& parts);
// The same for a file that the daemon reads.
std::vector<nrt::load_request> LoadFileMessages(const std::string& path,
                                                const LoadParts& parts = {});

using Tensors = std::vector<std::pair<std::string, std::string>>;  // name, bytes
nrt::infer_request InferRequest(uint32_t network, const Tensors& inputs);
nrt::infer_request SlowInput(uint32_t network);  // for SlowNeff(): zeros
nrt::infer_io SharedTensor(const std::string& name, const std::string& path);

std::vector<float> FloatsOf(std::string_view bytes);
std::string BytesOf(const std::vector<float>& values);

// The held-out images with what ONNX Runtime answers.
struct Digits {
  Digits();
  static constexpr size_t kClasses = 10;
  size_t size() const { return images.size(); }
  Tensors Input(size_t i) const { return {{"input:0", images[i]}}; }

  std::vector<std::string> images;
  std::vector<std::vector<float>> references;
  std::vector<int64_t> labels;
};

// The largest difference, divided by the largest magnitude of `expected`. Infinite for other sizes
// and NaN.
double RelativeError(const std::vector<float>& actual, const std::vector<float>& expected);
size_t ArgMax(const std::vector<float>& values);

}  // namespace nrtd::integration
