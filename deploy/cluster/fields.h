// SPDX-License-Identifier: Apache-2.0
//
// Fields of objects that others have made: what is not there, or of another type, reads as nothing.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace nrtd::deploy {

// An object out of its text. kInvalid for anything else, and for one that is nested deeper than any
// of Kubernetes'.
Result<nlohmann::json> ParseObject(std::string_view text);

using Path = std::initializer_list<std::string_view>;

// null if there is no such field.
const nlohmann::json& At(const nlohmann::json& object, Path path);
// Empty if it is no text.
std::string TextAt(const nlohmann::json& object, Path path);

}  // namespace nrtd::deploy
