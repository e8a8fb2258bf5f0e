// SPDX-License-Identifier: Apache-2.0
//
// Physical addresses of this process's pages, from /proc/self/pagemap (the kernel's
// admin-guide/mm/pagemap.rst describes its entries). Only pages that are locked keep theirs.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "base/unique_fd.h"

namespace nrtd::memory {

class Pagemap {
 public:
  // kResource when the file cannot be opened. The kernel decides by the opener's capabilities
  // whether frame numbers are shown: a Pagemap opened with CAP_SYS_ADMIN still works after it is
  // dropped.
  static Result<Pagemap> Open();

  // The physical address of the byte at `address`. kFail when its page is not present, kResource
  // when the kernel hides the frame number (CAP_SYS_ADMIN is missing). Threadsafe.
  Result<uint64_t> PhysicalAddress(const void* address) const;

  // What one 64-bit entry of the file says about the byte at `address`; the part of the above that
  // needs no file.
  static Result<uint64_t> Decode(uint64_t entry, const void* address);

 private:
  explicit Pagemap(UniqueFd file) : file_(std::move(file)) {}
  UniqueFd file_;
};

}  // namespace nrtd::memory
