// SPDX-License-Identifier: Apache-2.0
#include "tools/digits_demo/picture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace nrtd::digits {
namespace {

constexpr std::array<std::string_view, 5> kShades = {" ", "░", "▒", "▓", "█"};
constexpr std::string_view kGap = "  ";

std::string_view Shade(float value, float white) {
  const float steps = static_cast<float>(kShades.size() - 1);
  const float level = white > 0 ? std::round(value / white * steps) : 0;
  // Written so that NaN ends up at 0.
  if (!(level > 0)) return kShades[0];
  return kShades[static_cast<size_t>(std::min(level, steps))];
}

std::string Repeat(std::string_view text, size_t count) {
  std::string line;
  for (size_t i = 0; i < count; ++i) line += text;
  return line;
}

size_t FramedWidth(const Picture& picture) {
  return 2 * picture.width + 2;
}

// Characters that a picture's place is wide.
size_t PlaceWidth(const Picture& picture) {
  return std::max(FramedWidth(picture), picture.caption.size());
}

// Centres `text`, which is `width` characters wide, in the picture's place.
std::string InPlace(const Picture& picture, const std::string& text, size_t width) {
  const size_t padding = PlaceWidth(picture) - width;
  return std::string(padding / 2, ' ') + text + std::string(padding - padding / 2, ' ');
}

std::string PixelRow(const Picture& picture, size_t row, float white) {
  std::string line = "│";
  for (float value : picture.pixels.subspan(row * picture.width, picture.width))
    line += Repeat(Shade(value, white), 2);
  return line + "│";
}

}  // namespace

std::string RenderPictures(std::span<const Picture> pictures, float white) {
  std::string text;
  const auto add_line = [&](const auto& part_of) {
    std::string line;
    for (const Picture& picture : pictures) line += part_of(picture) + std::string(kGap);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  const auto framed = [](const Picture& picture, const std::string& part) {
    return InPlace(picture, part, FramedWidth(picture));
  };
  add_line([&](const Picture& p) { return framed(p, "┌" + Repeat("─", 2 * p.width) + "┐"); });
  const size_t height = pictures.empty() ? 0 : pictures.front().height;
  for (size_t row = 0; row < height; ++row)
    add_line([&](const Picture& p) { return framed(p, PixelRow(p, row, white)); });
  add_line([&](const Picture& p) { return framed(p, "└" + Repeat("─", 2 * p.width) + "┘"); });
  add_line([](const Picture& p) { return InPlace(p, p.caption, p.caption.size()); });
  return text;
}

}  // namespace nrtd::digits
