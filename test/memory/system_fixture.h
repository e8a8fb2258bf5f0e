// SPDX-License-Identifier: Apache-2.0
//
// What the tests of memory/ ask of the machine, and how they take some of it away for a while. All
// of it concerns the calling thread or process only: other tests run beside it.
#pragma once

#include <cstdint>
#include <string>

#include <gtest/gtest.h>

#include "memory/hugepage_counts.h"

namespace nrtd::memory {

// A figure of /proc/self/status in bytes: "HugetlbPages", "VmLck", "VmSize".
uint64_t ProcessBytes(const std::string& key);

bool HasFreeHugePages(uint64_t pages);
// Whether this process is shown physical addresses.
bool SeesPhysicalAddresses();
// A sanitizer's runtime makes mlock() a no-op.
bool MlockIsReal();

// Clears one effective capability of this thread.
class WithoutCapability {
 public:
  explicit WithoutCapability(int capability);
  ~WithoutCapability();

 private:
  uint32_t effective_[2] = {};
};

// Lowers one soft limit of this process.
class WithLimit {
 public:
  WithLimit(int resource, uint64_t limit);
  ~WithLimit();

 private:
  int resource_;
  uint64_t former_ = 0;
};

// One mount in a mount namespace that only this thread sees. !mounted() where that is not allowed.
class PrivateMount {
 public:
  PrivateMount(const std::string& target, const char* type, const char* options = "");
  ~PrivateMount();
  bool mounted() const { return mounted_; }
  const std::string& path() const { return target_; }

 private:
  std::string target_;
  bool mounted_ = false;
};

// An empty directory that goes with its files when this is destroyed.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void WriteText(const std::string& path, const std::string& text);

}  // namespace nrtd::memory

#define NRTD_REQUIRE_HUGE_PAGES(count)          \
  if (!::nrtd::memory::HasFreeHugePages(count)) \
  GTEST_SKIP() << "needs " << (count) << " free huge pages of 2 MiB: sysctl -w vm.nr_hugepages"

#define NRTD_REQUIRE_PHYSICAL_ADDRESSES()       \
  if (!::nrtd::memory::SeesPhysicalAddresses()) \
  GTEST_SKIP() << "needs CAP_SYS_ADMIN to see physical addresses"
