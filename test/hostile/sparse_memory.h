// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace nrtd::hostile {

// A sparse file of shared memory, removed at the end.
class SparseMemory {
 public:
  SparseMemory(const std::string& name, uint64_t size) : name_(name) {
    const UniqueFd file(::shm_open(name.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666));
    if (!file || ::ftruncate(file.get(), static_cast<off_t>(size)) != 0)
      throw std::runtime_error("shm_open " + name);
  }
  ~SparseMemory() { ::shm_unlink(name_.c_str()); }
  SparseMemory(const SparseMemory&) = delete;
  SparseMemory& operator=(const SparseMemory&) = delete;
  const std::string& name() const { return name_; }

 private:
  const std::string name_;
};

}  // namespace nrtd::hostile
