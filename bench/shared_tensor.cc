// SPDX-License-Identifier: Apache-2.0
#include "bench/shared_tensor.h"

#include <atomic>
#include <cerrno>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace nrtd::bench {

Result<SharedTensor> SharedTensor::Create(client::Daemon& daemon, uint64_t bytes) {
  static std::atomic<int> count{0};
  std::string path = fmt::format("/nrtd-bench-{}-{}", ::getpid(), count++);
  const UniqueFd file(::shm_open(path.c_str(), O_RDWR | O_CREAT | O_EXCL, 0666));
  if (!file) return Fail(Nerr::kResource, "shm_open {}: {}", path, ErrnoText(errno));
  const bool sized = ::ftruncate(file.get(), static_cast<off_t>(bytes)) == 0;
  auto region =
      sized ? MappedRegion::Map(bytes, PROT_READ | PROT_WRITE, MAP_SHARED, &file)
            : Fail(Nerr::kResource, "no {} bytes of shared memory: {}", bytes, ErrnoText(errno));
  const auto mapped = region ? daemon.MapSharedMemory(path) : Result<void>{};
  ::shm_unlink(path.c_str());
  if (!region) return tl::unexpected<Error>(std::move(region.error()));
  if (!mapped) return tl::unexpected<Error>(mapped.error());
  return SharedTensor(std::move(path), std::move(*region));
}

}  // namespace nrtd::bench
