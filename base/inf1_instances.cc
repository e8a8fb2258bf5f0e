// SPDX-License-Identifier: Apache-2.0
#include "base/inf1_instances.h"

namespace nrtd {
namespace {

struct Row {
  std::string_view name;
  uint32_t devices;
};
constexpr Row kRows[] = {
    {"inf1.xlarge", 1}, {"inf1.2xlarge", 1}, {"inf1.6xlarge", 4}, {"inf1.24xlarge", 16}};

}  // namespace

Result<uint32_t> DevicesOfInstance(std::string_view instance) {
  for (const Row& row : kRows)
    if (row.name == instance) return row.devices;
  return Fail(Nerr::kInvalid,
              "no instance size '{}' to simulate: use inf1.xlarge, inf1.2xlarge, inf1.6xlarge or "
              "inf1.24xlarge",
              std::string(instance));
}

}  // namespace nrtd
