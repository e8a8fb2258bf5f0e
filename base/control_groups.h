// SPDX-License-Identifier: Apache-2.0
//
// The files of control groups, version 1 and 2, as a process sees them inside a container (its own
// group is mounted at the root) and outside (its group is a folder below).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace nrtd {

// Calls `visit` with the folder of this process's group and then of each group above it: in the
// unified hierarchy, and in that of `controller` ("memory") where there is one.
void VisitControlGroups(const std::string& controller,
                        const std::function<void(const std::string& folder)>& visit);

// A number in a file, such as memory.max; nothing for "max", for no number, and where there is no
// such file.
std::optional<uint64_t> ReadGroupNumber(const std::string& path);

}  // namespace nrtd
