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

Result<void> Lock(MutableByteSpan range) {
  if (::mlock(range.data(), range.size()) == 0) return {};
  return Fail(Nerr::kResource,
              "cannot lock {} of memory: {}; raise `ulimit -l` (docker run --ulimit memlock=-1) or "
              "grant CAP_IPC_LOCK (docker run --cap-add IPC_LOCK)",
              HumanBytes(range.size()), ErrnoText(errno));
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
  int result = 0;
  do {
    result =
        ::madvise(range.data(), range.size(), writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
  } while (result != 0 && (errno == EINTR || errno == EAGAIN));
  // Before Linux 5.14 there is no such advice, but mlock() faults in the same way.
  if (result != 0 && errno == EINVAL) {
    NRTD_TRY(Lock(range));
    result = ::munlock(range.data(), range.size());
  }
  if (result == 0) return {};
  return Fail(Nerr::kResource, "cannot fault in {}: {}", HumanBytes(range.size()),
              ErrnoText(errno));
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
  // get_huge_pages() only reserves where the kernel knows private reservations (all since 2.6.27),
  // and a reservation is no promise: above a cgroup's limit the first touch is a SIGBUS.
  if (auto populated = Populate(mapping.bytes(), true); !populated)
    return tl::unexpected<Error>(PreallocationFailed(pages, populated.error()));
  NRTD_TRY(Lock(mapping.bytes()));
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
  NRTD_TRY(Lock(mapping.bytes()));
  // Locking has done it already, unless a sanitizer's runtime stands in for mlock().
  NRTD_TRY(Populate(mapping.bytes(), true));
  return mapping;
}

}  // namespace nrtd::memory
