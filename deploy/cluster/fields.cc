// SPDX-License-Identifier: Apache-2.0
#include "deploy/cluster/fields.h"

namespace nrtd::deploy {

using nlohmann::json;

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
