// SPDX-License-Identifier: Apache-2.0
#include "deploy/cluster/fields.h"

namespace nrtd::deploy {

using nlohmann::json;

namespace {

// Objects are copied and freed by recursion. Kubernetes' own are less than 20 deep.
constexpr int kDeepest = 64;

bool IsShallow(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kDeepest) return false;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return true;
}

}  // namespace

Result<json> ParseObject(std::string_view text) {
  if (!IsShallow(text)) return Fail(Nerr::kInvalid, "JSON is nested deeper than {}", kDeepest);
  json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return Fail(Nerr::kInvalid, "no JSON object");
  return parsed;
}

const json& At(const json& object, Path path) {
  static const json kNothing;
  const json* at = &object;
  for (const std::string_view key : path) {
    if (!at->is_object()) return kNothing;
    const auto found = at->find(key);
    if (found == at->end()) return kNothing;
    at = &*found;
  }
  return *at;
}

std::string TextAt(const json& object, Path path) {
  const json& at = At(object, path);
  return at.is_string() ? at.get<std::string>() : "";
}

}  // namespace nrtd::deploy
