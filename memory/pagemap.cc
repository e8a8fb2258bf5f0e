// SPDX-License-Identifier: Apache-2.0
#include "memory/pagemap.h"

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

namespace nrtd::memory {
namespace {

// admin-guide/mm/pagemap.rst
constexpr uint64_t kFrameMask = (uint64_t{1} << 55) - 1;
constexpr uint64_t kPresent = uint64_t{1} << 63;

// The unit of the file, also inside a huge page.
uint64_t BasePageSize() {
  static const auto size = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

}  // namespace

Result<Pagemap> Pagemap::Open() {
  UniqueFd file(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!file) {
    return Fail(Nerr::kResource, "cannot open /proc/self/pagemap: {}; mount /proc in the container",
                ErrnoText(errno));
  }
  return Pagemap(std::move(file));
}

Result<uint64_t> Pagemap::PhysicalAddress(const void* address) const {
  const uint64_t page = reinterpret_cast<uintptr_t>(address) / BasePageSize();
  uint64_t entry = 0;
  const ssize_t count =
      ::pread(file_.get(), &entry, sizeof(entry), static_cast<off_t>(page * sizeof(entry)));
  if (count != static_cast<ssize_t>(sizeof(entry))) {
    return Fail(Nerr::kFail, "cannot read the pagemap entry of {}: {}", address,
                count < 0 ? ErrnoText(errno) : "no such address");
  }
  return Decode(entry, address);
}

Result<uint64_t> Pagemap::Decode(uint64_t entry, const void* address) {
  if ((entry & kPresent) == 0)
    return Fail(Nerr::kFail, "the page of {} is not in memory; fault it in and lock it", address);
  const uint64_t frame = entry & kFrameMask;
  if (frame == 0) {
    return Fail(Nerr::kResource,
                "the kernel hides the physical address of {}: a device's memory needs "
                "CAP_SYS_ADMIN when the daemon starts (docker run --cap-add SYS_ADMIN; in "
                "Kubernetes securityContext.capabilities.add: [SYS_ADMIN, IPC_LOCK])",
                address);
  }
  return frame * BasePageSize() + reinterpret_cast<uintptr_t>(address) % BasePageSize();
}

}  // namespace nrtd::memory
