// SPDX-License-Identifier: Apache-2.0
#include "tools/client/shared_tensor.h"

#include <cerrno>
#include <random>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace nrtd::client {

namespace {

// Another container's process may have the same number.
std::string NewName() {
  std::random_device random;
  const uint64_t number = (uint64_t{random()} << 32) | random();
  return fmt::format("/aws_neuron_runtime_{:016x}", number);
}

}  // namespace

Result<SharedTensor> SharedTensor::Create(Daemon& daemon, uint64_t bytes, uint64_t session_id) {
  std::string path = NewName();
  const UniqueFd file(::shm_open(path.c_str(), O_RDWR | O_CREAT | O_EXCL, 0666));
  if (!file) return Fail(Nerr::kResource, "shm_open {}: {}", path, ErrnoText(errno));
  // Memory that is only promised ends this process when it is touched.
  int error = EINTR;
  while (error == EINTR) error = ::posix_fallocate(file.get(), 0, static_cast<off_t>(bytes));
  const bool sized = error == 0;
  auto region =
      sized ? MappedRegion::Map(bytes, PROT_READ | PROT_WRITE, MAP_SHARED, &file)
            : Fail(Nerr::kResource, "no {} bytes of shared memory: {}", bytes, ErrnoText(error));
  const auto mapped = region ? daemon.MapSharedMemory(path, session_id) : Result<void>{};
  ::shm_unlink(path.c_str());
  if (!region) return tl::unexpected<Error>(std::move(region.error()));
  if (!mapped) return tl::unexpected<Error>(mapped.error());
  return SharedTensor(std::move(path), std::move(*region));
}

}  // namespace nrtd::client
