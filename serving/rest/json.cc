// SPDX-License-Identifier: Apache-2.0
#include "serving/rest/json.h"

#include <cmath>
#include <cstdlib>

#include <absl/strings/escaping.h>
#include <rapidjson/error/en.h>
#include <rapidjson/prettywriter.h>

namespace nrtd::serving {
namespace {

constexpr size_t kMostPrinted = 1000;

// Takes the first bytes and forgets the rest.
class FirstBytes {
 public:
  using Ch = char;
  void Put(char c) {
    if (text_.size() < kMostPrinted) {
      text_ += c;
    } else {
      is_cut_ = true;
    }
  }
  void Flush() {}
  std::string Text() const { return is_cut_ ? text_ + "..." : text_; }

 private:
  std::string text_;
  bool is_cut_ = false;
};

// Numbers as the original prints them, NaN too.
class ValueWriter : public rapidjson::PrettyWriter<FirstBytes> {
 public:
  using PrettyWriter::PrettyWriter;
  bool Double(double value) {
    const std::string text = DecimalText(value);
    return RawValue(text.data(), text.size(), rapidjson::kNumberType);
  }
};

struct Size {
  int depth = 0;  // of arrays and objects in each other
  uint64_t values = 1;
};

// Of a text, whether it is JSON or not.
Size SizeOf(std::string_view text) {
  int depth = 0;
  Size size;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      size.depth = std::max(size.depth, ++depth);
      ++size.values;
    } else if (c == ']' || c == '}') {
      --depth;
    } else if (c == ',' || c == ':') {
      ++size.values;
    }
  }
  return size;
}

template <typename Float>
std::string Decimal(Float value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  std::string text = fmt::format("{:.6g}", value);
  const auto read = static_cast<Float>(std::strtod(text.c_str(), nullptr));
  if (read != value)
    text = sizeof(Float) == sizeof(float) ? fmt::format("{:.9g}", value)
                                          : fmt::format("{:.17g}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

}  // namespace

Result<rapidjson::Document> ParseJson(const std::string& text) {
  if (text.empty()) return Fail(Nerr::kInvalid, "JSON Parse error: The document is empty");
  const Size size = SizeOf(text);
  if (size.depth > kMaxJsonDepth) {
    return Fail(Nerr::kInvalid, "JSON Parse error: more than {} arrays and objects in each other",
                kMaxJsonDepth);
  }
  if (size.values > kMaxJsonValues)
    return Fail(Nerr::kInvalid, "JSON Parse error: more than {} values", kMaxJsonValues);
  rapidjson::Document document;
  document.Parse<rapidjson::kParseNanAndInfFlag | rapidjson::kParseValidateEncodingFlag>(
      text.data(), text.size());
  if (document.HasParseError()) {
    return Fail(Nerr::kInvalid, "JSON Parse error: {} at offset: {}",
                rapidjson::GetParseError_En(document.GetParseError()), document.GetErrorOffset());
  }
  return document;
}

std::string JsonText(const rapidjson::Value& value) {
  FirstBytes bytes;
  ValueWriter writer(bytes);
  value.Accept(writer);
  return bytes.Text();
}

const char* JsonTypeName(const rapidjson::Value& value) {
  constexpr const char* kNames[] = {"Null", "False", "True", "Object", "Array", "String", "Number"};
  return kNames[value.GetType()];
}

bool IsBase64(const rapidjson::Value& value) {
  return value.IsObject() && value.MemberCount() == 1 && value.HasMember("b64") &&
         value["b64"].IsString();
}

Result<std::string> DecodeBase64(std::string_view text) {
  std::string bytes;
  if (absl::Base64Unescape({text.data(), text.size()}, &bytes)) return bytes;
  return Fail(Nerr::kInvalid, "Unable to base64 decode");
}

std::string DecimalText(float value) {
  return Decimal(value);
}
std::string DecimalText(double value) {
  return Decimal(value);
}

}  // namespace nrtd::serving
