// SPDX-License-Identifier: Apache-2.0
//
// JSON as TensorFlow Serving reads and writes it, by the library that it uses (RapidJSON), so that
// bodies are the same byte for byte.
#pragma once

#include <string>
#include <string_view>

#include <rapidjson/document.h>

#include "base/error.h"

namespace nrtd::serving {

// Deeper than any tensor; values are walked by recursion.
inline constexpr int kMaxJsonDepth = 64;
// In memory a value takes many times the two bytes that it may take in a text.
inline constexpr uint64_t kMaxJsonValues = 8ULL << 20;

// kInvalid: "JSON Parse error: Invalid value. at offset: 0"; also for more than kMaxJsonDepth
// arrays and objects in each other, or more
// than kMaxJsonValues. NaN, Infinity and -Infinity are numbers.
Result<rapidjson::Document> ParseJson(const std::string& text);

// The beginning of a value as messages print it: indented, cut after a thousand bytes.
std::string JsonText(const rapidjson::Value& value);

// "Null", "False", "True", "Object", "Array", "String", "Number"
const char* JsonTypeName(const rapidjson::Value& value);

// {"b64": "..."}: how bytes are written in JSON.
bool IsBase64(const rapidjson::Value& value);
// kInvalid: it is no base64.
Result<std::string> DecodeBase64(std::string_view text);

// A number as the original prints it: the fewest digits of 6, 9 or 17 that read back the same, with
// ".0" where there is neither a point nor an exponent; NaN, Infinity, -Infinity.
std::string DecimalText(float value);
std::string DecimalText(double value);

}  // namespace nrtd::serving
