// SPDX-License-Identifier: Apache-2.0
#include "neff/tar_names.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/sizes.h"

namespace nrtd::neff {
namespace {

// POSIX ustar: blocks of 512 bytes; the size in octal at 124, the kind of entry at 156.
constexpr size_t kSizeAt = 124;
constexpr size_t kSizeDigits = 12;
constexpr size_t kTypeAt = 156;

// Of records "<length> path=<value>\n", where length counts the whole record.
bool PaxPathHasZero(std::string_view records) {
  while (!records.empty()) {
    size_t length = 0;
    const auto [end, error] =
        std::from_chars(records.data(), records.data() + records.size(), length);
    if (error != std::errc() || length == 0 || length > records.size()) return false;
    const std::string_view record = records.substr(0, length);
    const size_t key_at = static_cast<size_t>(end - records.data()) + 1;
    if (key_at < length && record.substr(key_at).starts_with("path=") &&
        record.find('\0') != std::string_view::npos) {
      return true;
    }
    records.remove_prefix(length);
  }
  return false;
}

bool LongNameHasZero(std::string_view name) {
  const size_t last = name.find_last_not_of('\0');
  return last != std::string_view::npos && name.find('\0') < last;
}

}  // namespace

bool HasZeroInExtendedName(ByteSpan tar) {
  std::string_view text = AsText(tar);
  while (text.size() >= kTarBlock) {
    const char type = text[kTypeAt];
    if (type != 'x' && type != 'g' && type != 'L' && type != 'K') return false;
    std::string_view digits = text.substr(kSizeAt, kSizeDigits);
    digits.remove_prefix(std::min(digits.find_first_not_of(' '), digits.size()));
    uint64_t size = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), size, 8);
    if (!RangeFits(kTarBlock, size, text.size())) return false;
    const std::string_view payload = text.substr(kTarBlock, size);
    if (type == 'x' && PaxPathHasZero(payload)) return true;
    if (type == 'L' && LongNameHasZero(payload)) return true;
    text.remove_prefix(std::min<uint64_t>(kTarBlock + AlignUp(size, kTarBlock), text.size()));
  }
  return false;
}

}  // namespace nrtd::neff
