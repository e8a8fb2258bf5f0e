// SPDX-License-Identifier: Apache-2.0
//
// How many huge pages of 2 MiB the kernel has, and what to tell the user when they are too few.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/sizes.h"

namespace nrtd::memory {

inline constexpr uint64_t kHugePageSize = 2 * kMiB;
// REFERENCE: 256 MiB a device, the amount that neuron-rtd 1.x reserved.
inline constexpr uint64_t kDefaultPagesPerDevice = 128;

// The files of /sys/kernel/mm/hugepages/hugepages-2048kB (the kernel's admin-guide/mm/hugetlbpage).
struct HugePageCounts {
  uint64_t total = 0;       // nr_hugepages, with the surplus
  uint64_t free = 0;        // free_hugepages
  uint64_t reserved = 0;    // resv_hugepages: promised to mappings, not faulted in yet
  uint64_t surplus = 0;     // surplus_hugepages: above the pool's size
  uint64_t overcommit = 0;  // nr_overcommit_hugepages: how far the surplus may go
  int node = -1;            // counts of one NUMA node (which knows no reservations), -1: of all

  // What a new mapping can get.
  uint64_t Available() const;
};

// `node` -1 reads the counts of the machine. kResource when the kernel has no huge pages of 2 MiB.
// `sysfs` is another directory than /sys in tests only.
Result<HugePageCounts> ReadHugePageCounts(int node = -1, const std::string& sysfs = "/sys");

// Nothing when `wanted` pages can be had; otherwise kResource with the text
// "Attempt to preallocate {wanted} hugetlb pages failed!", the figures, and the command that mends
// it.
Result<void> CheckHugePages(uint64_t wanted, const HugePageCounts& counts);

}  // namespace nrtd::memory
