// SPDX-License-Identifier: Apache-2.0
//
// Statuses with which the model server answers its clients.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <grpcpp/support/status.h>

#include "base/error.h"

namespace nrtd::serving {

// Converts an error to the status that clients get, with its full text.
grpc::Status StatusOf(const Error& error);
// Truncates the text to 1,024 bytes, as for gRPC. REST sends the full text.
grpc::Status Cut(grpc::Status status);
// Escapes everything but printable characters and line ends.
std::string SafeText(std::string_view text);
// "INVALID_ARGUMENT"
std::string CodeName(grpc::StatusCode code);

// A status with a formatted text, which is made printable.
template <typename... Args>
grpc::Status Refuse(grpc::StatusCode code, fmt::format_string<Args...> format, Args&&... args) {
  return {code, SafeText(fmt::format(format, std::forward<Args>(args)...))};
}

}  // namespace nrtd::serving
