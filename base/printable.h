// SPDX-License-Identifier: Apache-2.0
//
// Text from clients, NEFFs and files on its way into logs, errors and tables. It may hold anything:
// megabytes, terminal escapes, bytes that are not UTF-8. Fail() and Log() print every string among
// their arguments through Printable(); only what is wrapped in AsIs is taken over unchanged.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

#include <fmt/format.h>

namespace nrtd {

// Long enough for every name and path that people write.
inline constexpr size_t kMaxPrintedBytes = 256;

// `text` with everything escaped that a terminal would not show as a visible character: control
// characters, and format characters that are invisible or change the direction of the text, as \n,
// \r, \t, \x1b or \u{202e}; bytes that are not UTF-8 as \xff; a backslash as two. Beyond `limit`
// bytes of output it ends, between two characters, with "... (70000 bytes)", the length of `text`.
// Takes time for `limit` bytes, however long `text` is.
std::string Printable(std::string_view text, size_t limit = kMaxPrintedBytes);

// The same for text that was put together from printable parts: a backslash stays as it is, so that
// nothing is escaped twice.
std::string PrintableText(std::string_view text, size_t limit);

// Printable() would change at most backslashes.
bool IsPrintable(std::string_view text);

// Arguments of FormatText(), Fail() and Log(): text that is printable already, such as that of an
// Error, which may be longer than a name.
struct AsIs {
  explicit AsIs(std::string_view printable) : text(printable) {}
  std::string_view text;
};

namespace internal {

struct Escaped {
  std::string_view text;
};

// What an argument of type T is formatted as.
template <typename T>
using Printed =
    std::conditional_t<std::is_convertible_v<const std::remove_cvref_t<T>&, std::string_view>,
                       Escaped, std::remove_cvref_t<T>>;

template <typename T>
decltype(auto) Print(const T& argument) {
  if constexpr (std::is_same_v<Printed<T>, Escaped>) {
    return Escaped{argument};
  } else {
    return (argument);
  }
}

}  // namespace internal
}  // namespace nrtd

template <>
struct fmt::formatter<nrtd::AsIs> : fmt::formatter<std::string_view> {
  auto format(const nrtd::AsIs& value, fmt::format_context& context) const {
    return fmt::formatter<std::string_view>::format(value.text, context);
  }
};
template <>
struct fmt::formatter<nrtd::internal::Escaped> : fmt::formatter<std::string_view> {
  auto format(const nrtd::internal::Escaped& value, fmt::format_context& context) const {
    return fmt::formatter<std::string_view>::format(nrtd::Printable(value.text), context);
  }
};

namespace nrtd {
namespace internal {

template <typename... Args>
std::string FormatPrinted(fmt::string_view format, const Args&... arguments) {
  return fmt::vformat(format, fmt::make_format_args(arguments...));
}

}  // namespace internal

// fmt::format() whose string arguments are printed through Printable().
template <typename... Args>
std::string FormatText(fmt::format_string<internal::Printed<Args>...> format, Args&&... arguments) {
  return internal::FormatPrinted<internal::Printed<Args>...>(format,
                                                             internal::Printed<Args>{arguments}...);
}

}  // namespace nrtd
