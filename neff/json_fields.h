// SPDX-License-Identifier: Apache-2.0
//
// Inside neff/ only. JSON from outside, read field by field, where every failure is a kInvalid that
// names the file and the key: "sg00/def.json: var.x.size: expected a whole number, found "12"".
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/error.h"
#include "base/printable.h"
#include "neff/limits.h"

namespace nrtd::neff {

using Json = nlohmann::json;

// The parsed text. kInvalid beyond the limits on size, depth and number of values, which are
// checked before anything is allocated, and for malformed text.
Result<Json> ParseJson(ByteSpan text, std::string_view file, const Limits& limits);

// The text of a value. kInvalid if a string in it is not UTF-8. indent -1 is compact.
Result<std::string> DumpJson(const Json& value, std::string_view file, int indent);

// A value and the way to it. A Field points at the one it was taken from, for its place in
// messages: that one must stay where it is, which is why nothing can be taken from a temporary.
class Field {
 public:
  // `file` and `value` outlive the Field and all that is taken from it.
  Field(std::string_view file, const Json& value) : value_(&value), key_(file) {}

  // An object's member, which must exist; or may be missing (null counts as missing).
  Result<Field> Get(std::string_view key) const&;
  Result<Field> Get(std::string_view key) const&& = delete;
  Result<std::optional<Field>> Find(std::string_view key) const&;
  Result<std::optional<Field>> Find(std::string_view key) const&& = delete;

  // All members of an object, by rising key; all items of an array. At most `max`. No key is longer
  // than kMaxNameBytes.
  Result<std::vector<Field>> Members(size_t max) const&;
  Result<std::vector<Field>> Members(size_t max) const&& = delete;
  Result<std::vector<Field>> Items(size_t max) const&;
  Result<std::vector<Field>> Items(size_t max) const&& = delete;

  Result<std::string> Text() const;  // of kMaxNameBytes at most
  Result<uint64_t> Uint(uint64_t max = std::numeric_limits<uint64_t>::max()) const;
  Result<uint32_t> Uint32(uint32_t max = std::numeric_limits<uint32_t>::max()) const;
  Result<int64_t> Int() const;
  // A bool, a number, or text: TVM writes "0" and "1".
  Result<bool> Flag() const;
  // A number, or its digits as text: TVM writes attributes as text.
  Result<uint64_t> UintOrDigits() const;
  Result<std::vector<uint32_t>> Uint32List(size_t max) const;
  Result<std::vector<std::string>> TextList(size_t max) const;

  std::string_view key() const { return key_; }
  const Json& json() const { return *value_; }
  bool IsObject() const { return value_->is_object(); }

  // "sg00/def.json: var.x.size", printable, as is what Invalid() says.
  std::string Where() const;

  template <typename... Args>
  tl::unexpected<Error> Invalid(fmt::format_string<internal::Printed<Args>...> format,
                                Args&&... args) const {
    return Fail(Nerr::kInvalid, "{}: {}", AsIs(PrintableText(Where(), 2 * kMaxPrintedBytes)),
                AsIs(FormatText<Args...>(format, std::forward<Args>(args)...)));
  }

 private:
  Field(const Field* parent, const Json& value, std::string_view key, size_t index)
      : value_(&value), parent_(parent), key_(key), index_(index) {}
  tl::unexpected<Error> Expected(std::string_view what) const;
  tl::unexpected<Error> NameTooLong(size_t bytes) const;

  const Json* value_;
  const Field* parent_ = nullptr;
  std::string_view key_;  // of an object's member; the file for a root
  size_t index_ = 0;      // of an array's item
};

// Members that may be missing, in one line each.
Result<std::string> TextOr(const Field& object, std::string_view key, std::string fallback);
Result<std::optional<uint32_t>> OptionalUint32(const Field& object, std::string_view key);
Result<std::optional<uint64_t>> OptionalUint(const Field& object, std::string_view key);
Result<bool> FlagOr(const Field& object, std::string_view key, bool fallback);
Result<std::vector<uint32_t>> Uint32ListOrEmpty(const Field& object, std::string_view key,
                                                size_t max);

}  // namespace nrtd::neff
