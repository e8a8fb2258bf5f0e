// SPDX-License-Identifier: Apache-2.0
#include "tools/client/address.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace nrtd::client {
namespace {

constexpr size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;
constexpr std::string_view kUnix = "unix:";

// Of a normalized address; empty for host and port.
std::string_view SocketPathOf(std::string_view address) {
  if (!address.starts_with(kUnix)) return {};
  address.remove_prefix(kUnix.size());
  if (address.starts_with("//")) address.remove_prefix(2);
  return address;
}

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
  if (text.starts_with(kUnix)) {
    const std::string_view path = SocketPathOf(text);
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

std::optional<std::string> WhyNotPermitted(const std::string& address) {
  const std::string path(SocketPathOf(address));
  if (path.empty() || path.size() > kMaxSocketPath) return std::nullopt;
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, kMaxSocketPath);
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0 ||
      errno != EACCES)
    return std::nullopt;
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    return fmt::format("{}: uid {} may not search the folders of the socket", ErrnoText(EACCES),
                       ::geteuid());
  }
  return fmt::format(
      "{}: uid {}, gid {} may not write to the socket, whose mode is {:04o}, uid {}, gid {}; see "
      "--socket-mode and --socket-group of neuron-rtd",
      ErrnoText(EACCES), ::geteuid(), ::getegid(), info.st_mode & 07777, info.st_uid, info.st_gid);
}

}  // namespace nrtd::client
