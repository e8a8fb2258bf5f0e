// SPDX-License-Identifier: Apache-2.0
//
// Errors are values. Every fallible function below the service edge returns Result<T>; the edge
// turns an Error into nrt.status in one place (runtime/service/status.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <tl/expected.hpp>

#include "base/printable.h"

namespace nrtd {

// The domain's codes, number for number those of nerr.proto in the public contract (a test compares
// them).
enum class Nerr : int32_t {
  kOk = 0,
  kFail = 1,                 // nothing more specific fits
  kInvalid = 2,              // malformed NEFF, instruction, descriptor; wrong tensor name or size
  kInvalidHandle = 3,        // a handle the caller does not hold
  kResource = 4,             // memory, queues or files exhausted
  kTimeout = 5,              // the operation's deadline passed
  kHwError = 6,              // the device failed
  kQueueFull = 7,            // every inference slot of the network is taken
  kFailedState = 8,          // the network stopped after an unrecoverable error
  kResourceNc = 9,           // not enough NeuronCores
  kUnsupportedVersion = 10,  // the NEFF's version or target is not ours
  kInferPending = 1000,
  kInferCancelled = 1001,
  kInferBadInput = 1002,
  kInferCompletedWithNumErr = 1003,
  kInferCompletedWithErr = 1004,
};

// "NERR_INVALID" and so on; "NERR_<n>" for a number that has no name.
std::string NerrName(Nerr code);

// What failed. `text` says what, which value, and what to do; it reaches users unchanged. It is
// printable (base/printable.h) if Fail() and In() made it.
struct Error {
  Nerr code = Nerr::kFail;
  std::string text;

  // Puts "where: " in front of the text, for the caller that knows the place. Cut after
  // kMaxPrintedBytes.
  Error In(std::string_view where) &&;
};

template <typename T = void>
using Result = tl::expected<T, Error>;

// return Fail(Nerr::kInvalid, "{} has {} bytes", name, n);
// Strings are escaped and cut, as names from clients must be; AsIs{error.text} is not.
template <typename... Args>
[[nodiscard]] tl::unexpected<Error> Fail(Nerr code,
                                         fmt::format_string<internal::Printed<Args>...> format,
                                         Args&&... args) {
  return tl::unexpected<Error>(
      Error{code, FormatText<Args...>(format, std::forward<Args>(args)...)});
}

// "Permission denied", for the messages of failed system calls.
std::string ErrnoText(int error_number);

}  // namespace nrtd

#define NRTD_CONCAT_INNER(a, b) a##b
#define NRTD_CONCAT(a, b) NRTD_CONCAT_INNER(a, b)

// Returns the error of `expression`, a Result of any type, from the enclosing function.
#define NRTD_TRY(expression)                                                  \
  do {                                                                        \
    if (auto nrtd_result = (expression); !nrtd_result)                        \
      return ::tl::unexpected<::nrtd::Error>(std::move(nrtd_result).error()); \
  } while (false)

// NRTD_ASSIGN(auto value, Compute()): declares or assigns `target` from a Result, or returns its
// error.
#define NRTD_ASSIGN(target, expression) \
  NRTD_ASSIGN_INNER(NRTD_CONCAT(nrtd_result_, __LINE__), target, expression)
#define NRTD_ASSIGN_INNER(result, target, expression)                             \
  auto result = (expression);                                                     \
  if (!result) return ::tl::unexpected<::nrtd::Error>(std::move(result).error()); \
  target = std::move(*result)
