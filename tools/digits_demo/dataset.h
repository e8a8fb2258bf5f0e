// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"

namespace nrtd::digits {

// Images with what they show.
struct Dataset {
  size_t height = 0;
  size_t width = 0;
  std::vector<float> pixels;    // image after image
  std::vector<int64_t> labels;  // one an image
  float brightest = 0;          // of all pixels

  size_t size() const { return labels.size(); }
  std::span<const float> image(size_t index) const {
    return std::span(pixels).subspan(index * height * width, height * width);
  }
};

// Images are float32 [N,1,H,W], labels int64 or int32 [N]. kInvalid with the file and what it holds
// instead.
Result<Dataset> ReadDataset(const std::string& images_path, const std::string& labels_path);

// The index of the largest value; the first of equals. `values` is not empty.
size_t ArgMax(std::span<const float> values);

}  // namespace nrtd::digits
