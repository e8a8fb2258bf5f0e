// SPDX-License-Identifier: Apache-2.0
#include "memory/pinned_mapping.h"

#include <cerrno>
#include <cstddef>

#include <sys/mman.h>
extern "C" {  // the header does not say so itself, and needs <cstddef> before it
#include <hugetlbfs.h>
}

#include "base/sizes.h"
#include "memory/hugepage_counts.h"
#include "memory/numa.h"

namespace nrtd::memory {
namespace {

Result<void> CheckNode(int node) {
  if (node == kAnyNumaNode || NumaNodeExists(node)) return {};
  return Fail(Nerr::kInvalid, "there is no NUMA node {}; `numactl --hardware` lists them", node);
}

// Before the pages are there: where they come from, and that they stay ours alone. After a fork()
// the first write to a private page would move it to another physical address under the device.
Result<void> Prepare(MutableByteSpan range, int node) {
  if (node != kAnyNumaNode && NumaNodeCount() > 1) NRTD_TRY(BindRange(range, node));
  if (::madvise(range.data(), range.size(), MADV_DONTFORK) != 0)
    return Fail(Nerr::kFail, "madvise(MADV_DONTFORK): {}", ErrnoText(errno));
  return {};
}

// What is there, and what will be when it comes.
Result<void> LockOnFault(MutableByteSpan range) {
  if (::mlock2(range.data(), range.size(), MLOCK_ONFAULT) == 0) return {};
  return Fail(Nerr::kResource,
              "cannot lock {} of memory: {}; raise `ulimit -l` (docker run --ulimit memlock=-1) or "
              "grant CAP_IPC_LOCK (docker run --cap-add IPC_LOCK)",
              HumanBytes(range.size()), ErrnoText(errno));
}

// 0, or an errno.
int AdvisePopulate(MutableByteSpan range, int advice) {
  int reason = 0;
  do {
    reason = ::madvise(range.data(), range.size(), advice) == 0 ? 0 : errno;
  } while (reason == EINTR || reason == EAGAIN);
  return reason;
}

Result<void> CheckHugePagesAvailable(uint64_t pages, int node) {
  NRTD_ASSIGN(const HugePageCounts counts, ReadHugePageCounts());
  NRTD_TRY(CheckHugePages(pages, counts));
  if (node != kAnyNumaNode && NumaNodeCount() > 1) {
    NRTD_ASSIGN(const HugePageCounts of_node, ReadHugePageCounts(node));
    NRTD_TRY(CheckHugePages(pages, of_node));
  }
  const long default_size = ::gethugepagesize();
  if (default_size != static_cast<long>(kHugePageSize)) {
    return Fail(Nerr::kResource,
                "the default huge page size is {} bytes, 2 MiB is needed; boot with "
                "default_hugepagesz=2M and unset HUGETLB_DEFAULT_PAGE_SIZE",
                default_size);
  }
  return {};
}

Error PreallocationFailed(uint64_t pages, const Error& reason) {
  return {Nerr::kResource,
          fmt::format("Attempt to preallocate {} hugetlb pages failed! The kernel has that many "
                      "free but does not give them to this process: {}. Raise its limits: the "
                      "cgroup's hugetlb.2MB.max (in Kubernetes the container's resource "
                      "hugepages-2Mi) or `ulimit -v`",
                      pages, reason.text)};
}

}  // namespace

Result<void> Populate(MutableByteSpan range, bool writable) {
  const int reason = AdvisePopulate(range, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
  if (reason == 0) return {};
  // Before Linux 5.14 there is no such advice, but mlock() faults in the same way.
  if (reason == EINVAL && ::mlock(range.data(), range.size()) == 0 &&
      ::munlock(range.data(), range.size()) == 0)
    return {};
  return Fail(Nerr::kResource, "cannot fault in {}: {}", HumanBytes(range.size()),
              ErrnoText(reason));
}

MutableByteSpan PinnedMapping::bytes() const {
  if (huge_) return {huge_.get(), size_};
  if (!small_) return {};
  const auto address = reinterpret_cast<uintptr_t>(small_.data());
  return {small_.data() + (AlignUp(address, kHugePageSize) - address), size_};
}

void PinnedMapping::FreeHugePages::operator()(std::byte* data) const {
  ::free_huge_pages(data);
}

Result<PinnedMapping> PinnedMapping::MapHugePages(uint64_t pages, int numa_node) {
  NRTD_TRY(CheckNode(numa_node));
  NRTD_TRY(CheckHugePagesAvailable(pages, numa_node));
  PinnedMapping mapping;
  mapping.size_ = pages * kHugePageSize;
  // libhugetlbfs writes to stderr when its mmap() fails, and reads how talkative it may be from
  // HUGETLB_VERBOSE before main(). So the same mmap(), which only reserves and costs nothing, is
  // tried first: what can fail fails here, as an Error.
  if (auto rehearsal = MappedRegion::Map(mapping.size_, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB);
      !rehearsal)
    return tl::unexpected<Error>(PreallocationFailed(pages, rehearsal.error()));
  mapping.huge_.reset(static_cast<std::byte*>(::get_huge_pages(mapping.size_, GHP_DEFAULT)));
  if (!mapping.huge_) {
    return tl::unexpected<Error>(
        PreallocationFailed(pages, {Nerr::kResource, "get_huge_pages: " + ErrnoText(errno)}));
  }
  NRTD_TRY(Prepare(mapping.bytes(), numa_node));
  return mapping;
}

Result<PinnedMapping> PinnedMapping::MapSmallPages(uint64_t pages, int numa_node) {
  NRTD_TRY(CheckNode(numa_node));
  PinnedMapping mapping;
  mapping.size_ = pages * kHugePageSize;
  NRTD_ASSIGN(mapping.small_,
              MappedRegion::Map(mapping.size_ + kHugePageSize, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE));
  NRTD_TRY(Prepare(mapping.bytes(), numa_node));
  NRTD_TRY(LockOnFault(mapping.bytes()));
  return mapping;
}

// get_huge_pages() only reserves where the kernel knows private reservations (all since 2.6.27),
// and a reservation is no promise: above a cgroup's limit the first touch is a SIGBUS.
Result<void> PinnedMapping::FaultIn(uint64_t offset, uint64_t size) const {
  const MutableByteSpan range = bytes().subspan(offset, size);
  int reason = AdvisePopulate(range, MADV_POPULATE_WRITE);
  // Huge pages are locked only here: MLOCK_ONFAULT would fault them all in. They are never swapped
  // out, so where the right to lock is gone by now, nothing is lost.
  if (huge() || reason == EINVAL) {
    const int locked = ::mlock(range.data(), range.size()) == 0 ? 0 : errno;
    // Before Linux 5.14 there is no such advice, but mlock() faults in the same way.
    if (reason == EINVAL) reason = locked;
  }
  if (reason == 0) return {};
  const Error error{Nerr::kResource,
                    fmt::format("cannot fault in {}: {}", HumanBytes(size), ErrnoText(reason))};
  return tl::unexpected<Error>(huge() ? PreallocationFailed(size_ / kHugePageSize, error) : error);
}

}  // namespace nrtd::memory
