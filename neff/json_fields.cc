// SPDX-License-Identifier: Apache-2.0
#include "neff/json_fields.h"

#include <charconv>
#include <exception>

namespace nrtd::neff {
namespace {

// Depth, (about) the number of values and the longest token, without parsing: brackets, commas and
// quotes. Malformed text gives some number too; the parser finds it afterwards.
Result<void> CheckComplexity(std::string_view text, std::string_view file, const Limits& limits) {
  size_t depth = 0;
  size_t values = 1;
  size_t token = 0;  // where it began
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (!in_string && std::string_view("[]{},: \t\r\n\"").find(c) != std::string_view::npos)
      token = i;
    if (i - token > limits.max_json_token) {
      return Fail(Nerr::kInvalid, "{}: JSON holds a string or number of more than {} bytes", file,
                  limits.max_json_token);
    }
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
      continue;
    }
    switch (c) {
      case '"':
        in_string = true;
        break;
      case '[':
      case '{':
        ++values;
        if (++depth > limits.max_json_depth) {
          return Fail(Nerr::kInvalid, "{}: JSON is nested deeper than {} levels", file,
                      limits.max_json_depth);
        }
        break;
      case ']':
      case '}':
        if (depth > 0) --depth;
        break;
      case ',':
        ++values;
        break;
      default:
        break;
    }
  }
  if (values > limits.max_json_values) {
    return Fail(Nerr::kInvalid, "{}: JSON holds more than {} values", file, limits.max_json_values);
  }
  return {};
}

}  // namespace

Result<Json> ParseJson(ByteSpan bytes, std::string_view file, const Limits& limits) {
  const std::string_view text = AsText(bytes);
  if (text.size() > limits.max_json_bytes) {
    return Fail(Nerr::kInvalid, "{}: JSON of {} bytes is larger than the limit of {}", file,
                text.size(), limits.max_json_bytes);
  }
  NRTD_TRY(CheckComplexity(text, file, limits));
  try {
    return Json::parse(text);
  } catch (const std::exception& e) {
    return Fail(Nerr::kInvalid, "{}: malformed JSON: {}; compile the network again", file,
                e.what());
  }
}

Result<std::string> DumpJson(const Json& value, std::string_view file, int indent) {
  try {
    return value.dump(indent);
  } catch (const std::exception& e) {
    return Fail(Nerr::kInvalid, "{}: cannot be written as JSON: {}", file, e.what());
  }
}

std::string Field::Where() const {
  if (parent_ == nullptr) return Printable(key_);
  const std::string parent = parent_->Where();
  const std::string_view separator = parent_->parent_ == nullptr ? ": " : ".";
  if (parent_->value_->is_array()) {
    return fmt::format("{}{}[{}]", parent, parent_->parent_ == nullptr ? ": " : "", index_);
  }
  return fmt::format("{}{}{}", parent, separator, Printable(key_));
}

tl::unexpected<Error> Field::Expected(std::string_view what) const {
  constexpr size_t kShown = 60;
  std::string found;
  if (value_->is_object() || value_->is_array()) {
    found = value_->type_name();
  } else if (const auto* text = value_->get_ptr<const std::string*>(); text != nullptr) {
    found = fmt::format("\"{}\"", Printable(*text, kShown));
  } else {
    found = value_->dump();
  }
  return Invalid("expected {}, found {}", what, AsIs(found));
}

tl::unexpected<Error> Field::NameTooLong(size_t bytes) const {
  return Invalid("a name of {} bytes, at most {} are allowed: give it a shorter one", bytes,
                 kMaxNameBytes);
}

Result<std::optional<Field>> Field::Find(std::string_view key) const& {
  if (!value_->is_object()) return Expected("an object");
  const auto at = value_->find(key);
  if (at == value_->end() || at->is_null()) return std::optional<Field>();
  return std::optional<Field>(Field(this, *at, at.key(), 0));
}

Result<Field> Field::Get(std::string_view key) const& {
  NRTD_ASSIGN(const std::optional<Field> field, Find(key));
  if (!field) return Invalid("has no \"{}\"", key);
  return *field;
}

Result<std::vector<Field>> Field::Members(size_t max) const& {
  if (!value_->is_object()) return Expected("an object");
  if (value_->size() > max) return Invalid("{} members, at most {} allowed", value_->size(), max);
  std::vector<Field> members;
  members.reserve(value_->size());
  for (auto at = value_->begin(); at != value_->end(); ++at) {
    members.push_back(Field(this, *at, at.key(), 0));
    if (at.key().size() > kMaxNameBytes) return members.back().NameTooLong(at.key().size());
  }
  return members;
}

Result<std::vector<Field>> Field::Items(size_t max) const& {
  if (!value_->is_array()) return Expected("an array");
  if (value_->size() > max) return Invalid("{} items, at most {} allowed", value_->size(), max);
  std::vector<Field> items;
  items.reserve(value_->size());
  for (const Json& value : *value_) items.push_back(Field(this, value, {}, items.size()));
  return items;
}

Result<std::string> Field::Text() const {
  const auto* text = value_->get_ptr<const std::string*>();
  if (text == nullptr) return Expected("text");
  if (text->size() > kMaxNameBytes) return NameTooLong(text->size());
  return *text;
}

Result<uint64_t> Field::Uint(uint64_t max) const {
  if (!value_->is_number_unsigned()) return Expected("a whole number");
  const auto number = value_->get<uint64_t>();
  if (number > max) return Invalid("{} is more than {}", number, max);
  return number;
}

Result<uint32_t> Field::Uint32(uint32_t max) const {
  NRTD_ASSIGN(const uint64_t number, Uint(max));
  return static_cast<uint32_t>(number);
}

Result<int64_t> Field::Int() const {
  if (value_->is_number_unsigned()) {
    NRTD_ASSIGN(const uint64_t number, Uint(std::numeric_limits<int64_t>::max()));
    return static_cast<int64_t>(number);
  }
  if (!value_->is_number_integer()) return Expected("a whole number");
  return value_->get<int64_t>();
}

Result<uint64_t> Field::UintOrDigits() const {
  const auto* text = value_->get_ptr<const std::string*>();
  if (text == nullptr) return Uint();
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc() || end != text->data() + text->size()) return Expected("a whole number");
  return number;
}

Result<bool> Field::Flag() const {
  if (value_->is_boolean()) return value_->get<bool>();
  const auto number = UintOrDigits();
  if (!number || *number > 1) return Expected("0 or 1");
  return *number == 1;
}

Result<std::vector<uint32_t>> Field::Uint32List(size_t max) const {
  NRTD_ASSIGN(const std::vector<Field> items, Items(max));
  std::vector<uint32_t> numbers;
  numbers.reserve(items.size());
  for (const Field& item : items) {
    NRTD_ASSIGN(const uint32_t number, item.Uint32());
    numbers.push_back(number);
  }
  return numbers;
}

Result<std::vector<std::string>> Field::TextList(size_t max) const {
  NRTD_ASSIGN(const std::vector<Field> items, Items(max));
  std::vector<std::string> texts;
  texts.reserve(items.size());
  for (const Field& item : items) {
    NRTD_ASSIGN(std::string text, item.Text());
    texts.push_back(std::move(text));
  }
  return texts;
}

Result<std::string> TextOr(const Field& object, std::string_view key, std::string fallback) {
  NRTD_ASSIGN(const std::optional<Field> field, object.Find(key));
  if (!field) return fallback;
  return field->Text();
}

Result<std::optional<uint32_t>> OptionalUint32(const Field& object, std::string_view key) {
  NRTD_ASSIGN(const std::optional<Field> field, object.Find(key));
  if (!field) return std::optional<uint32_t>();
  NRTD_ASSIGN(const uint32_t number, field->Uint32());
  return std::optional<uint32_t>(number);
}

Result<std::optional<uint64_t>> OptionalUint(const Field& object, std::string_view key) {
  NRTD_ASSIGN(const std::optional<Field> field, object.Find(key));
  if (!field) return std::optional<uint64_t>();
  NRTD_ASSIGN(const uint64_t number, field->Uint());
  return std::optional<uint64_t>(number);
}

Result<bool> FlagOr(const Field& object, std::string_view key, bool fallback) {
  NRTD_ASSIGN(const std::optional<Field> field, object.Find(key));
  if (!field) return fallback;
  return field->Flag();
}

Result<std::vector<uint32_t>> Uint32ListOrEmpty(const Field& object, std::string_view key,
                                                size_t max) {
  NRTD_ASSIGN(const std::optional<Field> field, object.Find(key));
  if (!field) return std::vector<uint32_t>();
  return field->Uint32List(max);
}

}  // namespace nrtd::neff
