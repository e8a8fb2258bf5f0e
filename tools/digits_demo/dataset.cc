// SPDX-License-Identifier: Apache-2.0
#include "tools/digits_demo/dataset.h"

#include <algorithm>
#include <cstring>

#include "base/npy.h"

namespace nrtd::digits {
namespace {

template <typename Element>
std::vector<int64_t> Widen(ByteSpan data) {
  std::vector<int64_t> values(data.size() / sizeof(Element));
  for (size_t i = 0; i < values.size(); ++i) values[i] = LoadAt<Element>(data, i * sizeof(Element));
  return values;
}

Result<std::vector<int64_t>> ReadLabels(const std::string& path) {
  NRTD_ASSIGN(const NpyArray array, ReadNpyFile(path));
  if (array.shape.size() == 1 && array.dtype == DType::kInt64) return Widen<int64_t>(array.data);
  if (array.shape.size() == 1 && array.dtype == DType::kInt32) return Widen<int32_t>(array.data);
  return Fail(Nerr::kInvalid, "{} holds {} {}; labels are int64 or int32 in one dimension", path,
              DTypeName(array.dtype), ShapeText(array.shape));
}

}  // namespace

Result<Dataset> ReadDataset(const std::string& images_path, const std::string& labels_path) {
  NRTD_ASSIGN(const NpyArray images, ReadNpyFile(images_path));
  const Shape& shape = images.shape;
  if (images.dtype != DType::kFloat32 || shape.size() != 4 || shape[1] != 1 ||
      images.data.empty()) {
    return Fail(Nerr::kInvalid, "{} holds {} {}; images are float32 [N,1,height,width]",
                images_path, DTypeName(images.dtype), ShapeText(shape));
  }
  Dataset dataset;
  dataset.height = static_cast<size_t>(shape[2]);
  dataset.width = static_cast<size_t>(shape[3]);
  NRTD_ASSIGN(dataset.labels, ReadLabels(labels_path));
  if (static_cast<int64_t>(dataset.size()) != shape[0]) {
    return Fail(Nerr::kInvalid, "{} holds {} images, but {} holds {} labels", images_path, shape[0],
                labels_path, dataset.size());
  }
  dataset.pixels.resize(images.data.size() / sizeof(float));
  std::memcpy(dataset.pixels.data(), images.data.data(), images.data.size());
  dataset.brightest = *std::max_element(dataset.pixels.begin(), dataset.pixels.end());
  return dataset;
}

size_t ArgMax(std::span<const float> values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

}  // namespace nrtd::digits
