// SPDX-License-Identifier: Apache-2.0
#include "base/control_groups.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include <fmt/format.h>

#include "base/file.h"

namespace nrtd {
namespace {

constexpr const char* kRoot = "/sys/fs/cgroup";

// The path of this process in one hierarchy: of `controller`, or the unified one for "".
std::string GroupPath(std::string_view controller) {
  const auto text = ReadTextFile("/proc/self/cgroup");
  if (!text) return "";
  std::string_view rest = *text;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    if (controllers.find(fmt::format(",{},", controller)) != std::string::npos)
      return std::string(line.substr(second + 1));
  }
  return "";
}

void VisitUpwards(const std::string& mount, std::string path,
                  const std::function<void(const std::string&)>& visit) {
  while (true) {
    visit(mount + path);
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return;
    path.erase(slash);
  }
}

}  // namespace

void VisitControlGroups(const std::string& controller,
                        const std::function<void(const std::string& folder)>& visit) {
  VisitUpwards(kRoot, GroupPath(""), visit);
  VisitUpwards(fmt::format("{}/{}", kRoot, controller), GroupPath(controller), visit);
}

std::optional<uint64_t> ReadGroupNumber(const std::string& path) {
  const auto text = ReadTextFile(path);
  if (!text || text->empty() || (*text)[0] < '0' || (*text)[0] > '9') return std::nullopt;
  return std::strtoull(text->c_str(), nullptr, 10);
}

}  // namespace nrtd
