// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace nrtd::client {

inline constexpr std::string_view kAddressVariable = "NEURON_RTD_ADDRESS";
inline constexpr std::string_view kDefaultAddress = "unix:/run/neuron.sock";

// Where the daemon is: `flag` if it is not empty, else NEURON_RTD_ADDRESS if it is set and not
// empty, else kDefaultAddress. A bare absolute path means a unix socket. The answer is in gRPC's
// notation: "unix:/path" or "host:port". kInvalid with the source of the address ("-a" or the
// variable) if it is neither, or if the path is longer than a socket address holds.
Result<std::string> ResolveAddress(std::string_view flag);

// If this process may not open the unix socket at `address`: "Permission denied: ...", with its
// user and the socket's mode and owner. Otherwise nothing.
std::optional<std::string> WhyNotPermitted(const std::string& address);

}  // namespace nrtd::client
