// SPDX-License-Identifier: Apache-2.0
//
// A client's shared memory, mapped into the daemon. Names and sizes come from outside and the file
// stays the client's: it may unlink the name (usual, at once) or truncate the file (hostile, or
// dying) at any time.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file_rights.h"
#include "base/mapped_region.h"
#include "base/unique_fd.h"

namespace nrtd::memory {

// Which file a mapping is of; a name may be given to another one later.
struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  bool operator==(const FileIdentity&) const = default;
};

// Move-only owner of a mapping and of a descriptor of its file. The const functions are threadsafe.
// `prot` is PROT_READ, or PROT_READ | PROT_WRITE; anything else is kInvalid.
class SharedMemory {
 public:
  // `path` is a name of shm_open(3), such as "/aws_neuron_runtime_x": one slash, in front. kInvalid
  // for other names, for an empty file, and with the text of OpenAsUser() for what `user` may not
  // open, symbolic links, and names that do not exist, which is what a client without a shared
  // /dev/shm is told. kResource when the mapping fails.
  static Result<SharedMemory> OpenPosix(const std::string& path, int prot,
                                        const FileUser& user = {});

  // `path` is a file on a hugetlbfs mount, opened by OpenAsUser(), `size` a multiple of its page
  // size and not more than the file holds. Every failure's text begins "Failed to mmap with
  // hugetlb"; codes as above.
  // The pages are faulted in here, so that a later access cannot fail for want of huge pages.
  static Result<SharedMemory> OpenHugetlb(const std::string& path, uint64_t size, int prot,
                                          const FileUser& user = {});

  std::byte* data() const { return region_.data(); }
  uint64_t size() const { return region_.size(); }
  bool writable() const { return writable_; }
  bool hugetlb() const { return hugetlb_; }
  const std::string& path() const { return path_; }
  FileIdentity identity() const { return identity_; }

  // The bytes [offset, offset + length), if they are inside the mapping and the file still has them
  // now: kInvalid otherwise. Range() is for writing, kInvalid on a read-only mapping.
  Result<MutableByteSpan> Range(uint64_t offset, uint64_t length) const;
  Result<ByteSpan> ReadRange(uint64_t offset, uint64_t length) const;

 private:
  SharedMemory() = default;
  Result<void> CheckRange(uint64_t offset, uint64_t length) const;

  std::string path_;
  UniqueFd file_;
  MappedRegion region_;
  FileIdentity identity_;
  bool writable_ = false;
  bool hugetlb_ = false;
};

}  // namespace nrtd::memory
