// SPDX-License-Identifier: Apache-2.0
//
// Small grey images as text.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace nrtd::digits {

struct Picture {
  std::span<const float> pixels;  // rows from the top, height * width of them
  size_t height = 0;
  size_t width = 0;
  std::string caption;  // ASCII, centred below; longer ones widen the picture's place
};

// The pictures side by side in frames, each pixel two characters wide because a terminal's
// characters are twice as high as wide. Brightness goes from blank (0 and below) over three shades
// to a full block (`white` and above). All pictures have the same height.
std::string RenderPictures(std::span<const Picture> pictures, float white);

}  // namespace nrtd::digits
