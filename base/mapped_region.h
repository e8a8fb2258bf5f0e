// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"
#include "base/sizes.h"
#include "base/unique_fd.h"
#include "base/wanted.h"

namespace nrtd {

// For reading. Never waits, whatever it is. kInvalid: it cannot be opened, is no regular file, or
// is empty.
Result<UniqueFd> OpenRegularFile(const std::string& path);
// Its size, which is not 0; kInvalid for anything else. `name` is for errors.
Result<uint64_t> SizeOfRegularFile(const UniqueFd& file, const std::string& name);

// x86-64's; of its larger ones the smaller, which is what transparent huge pages are made of.
inline constexpr uint64_t kPage = 4 * kKiB;
inline constexpr uint64_t kTransparentHugePage = 2 * kMiB;

// Asks for such pages for a range that holds whole ones: hundreds of times fewer faults when it is
// filled. Private anonymous memory; the rest of the last page is advised with it. Without effect
// where the system does not have them.
void PreferHugePages(void* data, uint64_t size);

// Owns one mmap() and unmaps it. Movable; data() does not change when the owner moves.
class MappedRegion {
 public:
  MappedRegion() = default;
  MappedRegion(MappedRegion&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  MappedRegion& operator=(MappedRegion&& other) noexcept;
  MappedRegion(const MappedRegion&) = delete;
  MappedRegion& operator=(const MappedRegion&) = delete;
  ~MappedRegion();

  // mmap(2) with these arguments at no particular address. kResource with errno's text on failure,
  // kInvalid for size 0.
  static Result<MappedRegion> Map(uint64_t size, int protection, int flags,
                                  const UniqueFd* file = nullptr, uint64_t offset = 0);
  // Private anonymous memory, of zeros. Errors of Map().
  static Result<MappedRegion> Allocate(uint64_t size);
  // A whole regular file, read-only and private. An empty file is an error. For files that nobody
  // else truncates: whoever touches a page that is gone gets SIGBUS.
  static Result<MappedRegion> MapFile(const std::string& path);
  // The same for everybody's files, copied into memory: what is truncated later stays. kInvalid,
  // too, when it is larger than `limit`, or shrinks while it is read.
  static Result<MappedRegion> CopyFile(const std::string& path, uint64_t limit = UINT64_MAX);
  // The same for one that is open, from its beginning; `name` is for errors. Errors of
  // CheckWanted().
  static Result<MappedRegion> CopyFile(const UniqueFd& file, const std::string& name,
                                       uint64_t limit = UINT64_MAX,
                                       const std::stop_token& stop = {});

  // Of what Allocate() has made, or of nothing: keeps what it holds and may move; whole pages that
  // are new are 0. kResource with errno's text on failure, kInvalid for size 0; it is as it was
  // then.
  Result<void> Resize(uint64_t size);

  std::byte* data() const { return data_; }
  uint64_t size() const { return size_; }
  ByteSpan bytes() const { return {data_, size_}; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  MappedRegion(std::byte* data, uint64_t size) : data_(data), size_(size) {}
  std::byte* data_ = nullptr;
  uint64_t size_ = 0;
};

}  // namespace nrtd
