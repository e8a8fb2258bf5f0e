// SPDX-License-Identifier: Apache-2.0
#include "tools/client/address.h"

#include <algorithm>
#include <cstdlib>

#include <sys/un.h>

namespace nrtd::client {
namespace {

constexpr size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;

bool IsHostAndPort(std::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const std::string_view port = address.substr(colon + 1);
  return !port.empty() &&
         std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Result<std::string> Normalize(std::string_view address, std::string_view source) {
  std::string text =
      address.starts_with('/') ? fmt::format("unix:{}", address) : std::string(address);
  if (text.starts_with("unix:")) {
    std::string_view path = std::string_view(text).substr(5);
    if (path.starts_with("//")) path.remove_prefix(2);
    if (path.empty()) {
      return Fail(Nerr::kInvalid, "{} '{}' names no socket; write unix:/path", source, address);
    }
    if (path.size() > kMaxSocketPath) {
      return Fail(Nerr::kInvalid, "{} '{}' has a path of {} bytes; a unix socket takes at most {}",
                  source, address, path.size(), kMaxSocketPath);
    }
    return text;
  }
  if (IsHostAndPort(text)) return text;
  return Fail(Nerr::kInvalid, "{} '{}' is no address; write unix:/path or host:port", source,
              address);
}

}  // namespace

Result<std::string> ResolveAddress(std::string_view flag) {
  if (!flag.empty()) return Normalize(flag, "address");
  const char* variable = std::getenv(std::string(kAddressVariable).c_str());
  if (variable != nullptr && *variable != '\0') return Normalize(variable, kAddressVariable);
  return std::string(kDefaultAddress);
}

}  // namespace nrtd::client
