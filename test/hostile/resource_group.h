// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/sizes.h"

namespace nrtd::hostile {

// The limits of a small pod.
inline constexpr uint64_t kMemoryLimit = 512 * kMiB;
inline constexpr uint64_t kPidsLimit = 300;

// A control group for a daemon under test, version 1 or 2, whichever the machine has. Removed by
// the destructor; its processes have ended by then.
class ResourceGroup {
 public:
  // kResource where groups cannot be made (no root, no controllers): the test is skipped by name.
  static Result<ResourceGroup> Create(uint64_t memory_bytes = kMemoryLimit,
                                      uint64_t pids = kPidsLimit);
  ResourceGroup(ResourceGroup&&) noexcept = default;
  ResourceGroup& operator=(ResourceGroup&&) = delete;
  ~ResourceGroup();

  // A command to put in front of another one, which then runs inside the group.
  std::vector<std::string> Launcher() const;

  // What the kernel has charged, page cache included, and the most that it ever was.
  uint64_t MemoryBytes() const;
  uint64_t PeakMemoryBytes() const;

 private:
  ResourceGroup() = default;
  std::vector<std::string> folders_;  // one with version 2; memory's and pids' with version 1
  bool unified_ = false;
};

}  // namespace nrtd::hostile
