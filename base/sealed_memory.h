// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/mapped_region.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "base/wanted.h"

namespace nrtd {

// Constant bytes in memory of their own that nobody can write, us included, in huge pages where the
// system has them: gigabytes are filled and given back in milliseconds. Movable; bytes() does not
// move. Threadsafe once it is in place.
class SealedMemory {
 public:
  // The parts one behind the other, each beginning with a page. kResource: no memory. Errors of
  // CheckWanted().
  static Result<SealedMemory> Create(const std::vector<ByteSpan>& parts,
                                     const std::stop_token& stop = {});

  // A whole regular file from its beginning, as it is now, of at most `limit` bytes; `name` is for
  // errors. No parts. Errors of MappedRegion::CopyFile().
  static Result<SealedMemory> CopyOf(const UniqueFd& file, const std::string& name, uint64_t limit,
                                     const std::stop_token& stop = {});

  // Takes over anonymous memory that somebody else has filled, or none. No parts. kResource: the
  // system refuses.
  static Result<SealedMemory> Seal(MappedRegion filled);

  SealedMemory() = default;
  explicit operator bool() const { return static_cast<bool>(region_); }
  // All of it, read-only.
  ByteSpan bytes() const { return region_.bytes(); }
  ByteSpan part(size_t index) const {
    return bytes().subspan(parts_[index].offset, parts_[index].size);
  }
  // Of this memory alone, as long as the process lives; 0 for none.
  uint64_t id() const { return id_; }
  // bfloat16 as float32 is twice as many bytes. The rest is for columns that are rounded up and for
  // Winograd's form (3.6 times) of some layers; of a network that has more of that, the layers that
  // are packed last stay as they are besides.
  static constexpr double kMostMade = 2.25;
  // What somebody made of the content, `size` bytes of it, lives as long as the memory: the next
  // one finds it made. Once is enough for each. False: not kept, because it would be more than
  // kMostMade times the size of the content.
  bool Keep(std::shared_ptr<const void> made, uint64_t size) const;
  // Gives the pages of a range back that nobody will read any more, because everything that was
  // made of them is kept. They are 0 from then on, and take no memory unless they are read.
  void Release(uint64_t offset, uint64_t size) const;

 private:
  struct Part {
    uint64_t offset;
    uint64_t size;
  };
  uint64_t id_ = 0;
  MappedRegion region_;
  std::vector<Part> parts_;
  struct Kept {
    Mutex mutex;
    std::set<std::shared_ptr<const void>> made NRTD_GUARDED_BY(mutex);
    uint64_t bytes NRTD_GUARDED_BY(mutex) = 0;
    bool is_released NRTD_GUARDED_BY(mutex) = false;  // some of the pages
  };
  std::unique_ptr<Kept> kept_ = std::make_unique<Kept>();
};

}  // namespace nrtd
