// SPDX-License-Identifier: Apache-2.0
#include "serving/service/status.h"

#include <iterator>

#include "base/printable.h"

namespace nrtd::serving {
namespace {

using grpc::StatusCode;

constexpr size_t kMaxText = 1024;
constexpr size_t kMaxEscapedBytes = 16;  // per byte of text

}  // namespace

grpc::Status StatusOf(const Error& error) {
  const auto code = [&] {
    switch (error.code) {
      case Nerr::kInvalid:
      case Nerr::kInferBadInput:
        return StatusCode::INVALID_ARGUMENT;
      case Nerr::kInvalidHandle:
        return StatusCode::NOT_FOUND;
      case Nerr::kTimeout:
        return StatusCode::DEADLINE_EXCEEDED;
      case Nerr::kResource:
      case Nerr::kResourceNc:
      case Nerr::kQueueFull:
        return StatusCode::RESOURCE_EXHAUSTED;
      case Nerr::kFailedState:
        return StatusCode::FAILED_PRECONDITION;
      case Nerr::kFail:
        return StatusCode::UNAVAILABLE;
      case Nerr::kInferCancelled:
        return StatusCode::CANCELLED;
      default:
        return StatusCode::INTERNAL;
    }
  }();
  return Refuse(code, "{}", error.text);
}

std::string SafeText(std::string_view text) {
  std::string safe;
  while (true) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    safe += PrintableText(line, kMaxEscapedBytes * line.size());
    if (end == std::string_view::npos) return safe;
    safe += '\n';
    text.remove_prefix(end + 1);
  }
}

grpc::Status Cut(grpc::Status status) {
  if (status.error_message().size() <= kMaxText) return status;
  return {status.error_code(),
          SafeText(status.error_message().substr(0, kMaxText)) + "...TRUNCATED"};
}

std::string CodeName(StatusCode code) {
  constexpr const char* kNames[] = {"OK",
                                    "CANCELLED",
                                    "UNKNOWN",
                                    "INVALID_ARGUMENT",
                                    "DEADLINE_EXCEEDED",
                                    "NOT_FOUND",
                                    "ALREADY_EXISTS",
                                    "PERMISSION_DENIED",
                                    "RESOURCE_EXHAUSTED",
                                    "FAILED_PRECONDITION",
                                    "ABORTED",
                                    "OUT_OF_RANGE",
                                    "UNIMPLEMENTED",
                                    "INTERNAL",
                                    "UNAVAILABLE",
                                    "DATA_LOSS",
                                    "UNAUTHENTICATED"};
  const auto number = static_cast<size_t>(code);
  return number < std::size(kNames) ? kNames[number] : fmt::to_string(number);
}

}  // namespace nrtd::serving
