// SPDX-License-Identifier: Apache-2.0
#include "base/printable.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace nrtd {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

// What is not a visible character, of the Unicode categories Cc, Cf, Zl and Zp without those signs
// of Cf that are visible, and characters that never are one. Sorted.
constexpr Range kInvisible[] = {
    {0x0000, 0x001f},    // C0 controls
    {0x007f, 0x009f},    // DEL and C1 controls
    {0x00ad, 0x00ad},    // soft hyphen
    {0x061c, 0x061c},    // Arabic letter mark
    {0x180e, 0x180e},    // Mongolian vowel separator
    {0x200b, 0x200f},    // zero-width, direction marks
    {0x2028, 0x202e},    // line and paragraph separators, direction embeddings and overrides
    {0x2060, 0x206f},    // word joiner, direction isolates, deprecated format characters
    {0xfdd0, 0xfdef},    // never a character
    {0xfeff, 0xfeff},    // byte order mark
    {0xfff9, 0xfffb},    // annotations
    {0x1bca0, 0x1bca3},  // shorthand format controls
    {0x1d173, 0x1d17a},  // musical format controls
    {0xe0000, 0xe0fff},  // tags and variation selectors
};

bool IsVisible(char32_t character) {
  if ((character & 0xfffe) == 0xfffe) return false;  // never a character, in any plane
  const auto* after =
      std::upper_bound(std::begin(kInvisible), std::end(kInvisible), character,
                       [](char32_t value, const Range& range) { return value < range.first; });
  return after == std::begin(kInvisible) || character > std::prev(after)->last;
}

struct Character {
  char32_t value = 0;
  size_t size = 0;  // 0: the bytes are not UTF-8
};

// The first character of `text`, which is not empty. The shortest form only, and no surrogates
// (RFC 3629).
Character Decode(std::string_view text) {
  const auto byte = [&](size_t at) -> char32_t { return static_cast<uint8_t>(text[at]); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return {};
  char32_t value = lead & (0x7fU >> size);
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    value = value << 6 | (byte(i) & 0x3f);
  }
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (value < kLeast[size] || value > 0x10ffff || surrogate) return {};
  return {value, size};
}

// One character, escaped if need be.
std::string_view Render(std::string_view text, const Character& character, bool escape_backslash,
                        fmt::memory_buffer& buffer) {
  buffer.clear();
  const auto out = std::back_inserter(buffer);
  if (character.size == 0) {
    fmt::format_to(out, "\\x{:02x}", static_cast<uint8_t>(text.front()));
  } else if (character.value == '\\' && escape_backslash) {
    return "\\\\";
  } else if (IsVisible(character.value)) {
    return text.substr(0, character.size);
  } else if (character.value == '\n') {
    return "\\n";
  } else if (character.value == '\r') {
    return "\\r";
  } else if (character.value == '\t') {
    return "\\t";
  } else if (character.value < 0x80) {
    fmt::format_to(out, "\\x{:02x}", static_cast<uint32_t>(character.value));
  } else {
    fmt::format_to(out, "\\u{{{:04x}}}", static_cast<uint32_t>(character.value));
  }
  return {buffer.data(), buffer.size()};
}

std::string Escape(std::string_view text, size_t limit, bool escape_backslash) {
  std::string printable;
  printable.reserve(std::min(text.size(), limit));
  fmt::memory_buffer buffer;
  for (std::string_view rest = text; !rest.empty();) {
    const Character character = Decode(rest);
    const std::string_view piece = Render(rest, character, escape_backslash, buffer);
    if (printable.size() + piece.size() > limit)
      return printable + fmt::format("... ({} bytes)", text.size());
    printable += piece;
    rest.remove_prefix(std::max<size_t>(character.size, 1));
  }
  return printable;
}

}  // namespace

std::string Printable(std::string_view text, size_t limit) {
  return Escape(text, limit, true);
}

std::string PrintableText(std::string_view text, size_t limit) {
  return Escape(text, limit, false);
}

bool IsPrintable(std::string_view text) {
  while (!text.empty()) {
    const Character character = Decode(text);
    if (character.size == 0 || !IsVisible(character.value)) return false;
    text.remove_prefix(character.size);
  }
  return true;
}

}  // namespace nrtd
