// SPDX-License-Identifier: Apache-2.0
//
// The host memory of the daemon's DMA: huge pages of 2 MiB, taken when the daemon starts, faulted
// in, locked, and given out as DmaBuffers. A device addresses it by bus address, so the physical
// address of every page is known before any buffer exists.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "base/error.h"
#include "memory/dma_buffer.h"
#include "memory/hugepage_counts.h"
#include "memory/numa.h"

namespace nrtd::memory {

enum class BusAddressing {
  kPhysical,  // what a real device needs; takes CAP_SYS_ADMIN to find out
  // The bus address is the virtual one: for simulated devices only. Chosen when asked for, and
  // always with small pages, which the kernel may move although they are locked.
  kVirtual,
};

// One page of the pool, for the driver to map for its device.
struct PoolPage {
  std::byte* data = nullptr;
  uint64_t bus_address = 0;
  uint64_t length = 0;  // kHugePageSize
};

class Pagemap;

using OnPage = std::function<Result<void>(const PoolPage&)>;

struct PoolOptions {
  uint64_t pages_per_device = kDefaultPagesPerDevice;
  uint64_t devices = 1;
  int numa_node = kAnyNumaNode;
  // Where huge pages are missing, take ordinary ones (and log a warning) instead of refusing.
  bool allow_small_pages = false;
  // Never ask for huge pages.
  bool only_small_pages = false;
  BusAddressing addressing = BusAddressing::kPhysical;
  // Where physical addresses are read, opened when this process might see them; null: Create()
  // opens it.
  std::shared_ptr<const Pagemap> pagemap = nullptr;
  // Called once for every page before a buffer lies in it, from several threads at once; its error
  // keeps the page and those after it out of the pool.
  OnPage on_page = nullptr;
};

struct PoolStats {
  uint64_t total_bytes = 0;
  uint64_t used_bytes = 0;
  uint64_t high_water_bytes = 0;  // the most that was ever in use
  uint64_t largest_free_bytes = 0;
  uint64_t free_blocks = 0;
};

// Threadsafe after Create(). Allocation takes a lock and may allocate from the heap: it belongs to
// loading, not to inference.
//
// To clear 16 devices' pages, or to touch pages that a virtual machine's host has not backed yet,
// takes seconds. So Create() reserves and locks them all, and a page is faulted in when it is
// allocated from, or by AddRemainingBehind(), which a daemon calls once it answers.
class HugePagePool {
 public:
  // kInvalid for no pages at all or a NUMA node that does not exist. kResource when the huge pages
  // ("Attempt to preallocate 128 hugetlb pages failed!"), the right to lock memory or the physical
  // addresses are missing; the text says how to mend it. A page that
  // the kernel refuses afterwards (a cgroup's limit) is logged; the pool is then as large as it
  // got.
  static Result<std::unique_ptr<HugePagePool>> Create(const PoolOptions& options);

  // Waits for a page that is being added, drops those that have not begun. Buffers stay valid.
  ~HugePagePool();

  // `alignment` (of data() and of the bus address) is a power of two up to kHugePageSize, `size` is
  // not 0: otherwise kInvalid. Exhausted: kResource, "Failed to alloc hugetlb" with the figures. A
  // buffer of at most kHugePageSize lies inside one page. Holds what its last owner left there.
  // kResource when the kernel refuses a page of it, or has refused one before, with the reason.
  Result<DmaBuffer> Allocate(uint64_t size, uint64_t alignment = 64);

  // Faults in what is missing, by threads of the pool; what the kernel refuses is logged. At once.
  void AddRemainingBehind();

  // In the order of their addresses in the process, all faulted in; bus_address is 0 for one that
  // the kernel refused. Valid while the pool lives.
  std::span<const PoolPage> pages() const;
  bool uses_huge_pages() const;
  BusAddressing addressing() const;
  PoolStats Stats() const;

 private:
  explicit HugePagePool(std::shared_ptr<PoolState> state) : state_(std::move(state)) {}
  std::shared_ptr<PoolState> state_;
  std::vector<std::jthread> adders_;
};

}  // namespace nrtd::memory
