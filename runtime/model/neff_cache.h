// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>

#include "base/digest.h"
#include "base/error.h"
#include "base/file_rights.h"
#include "base/mutex.h"
#include "base/sizes.h"
#include "neff/neff.h"

namespace nrtd::runtime {

// What a file was when it was read: as long as nothing of it has changed, neither has its content.
struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size = 0;
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;
  bool operator==(const FileIdentity&) const = default;
};

// How a NEFF is read.
struct NeffReading {
  FileUser user = {};  // for whom a path is opened
  // Takes room for so many bytes, or refuses, before they are copied from a file. What it takes is
  // kept and given back by the caller. Not called for what is in memory already.
  std::function<Result<void>(uint64_t bytes)> reserve = {};
  std::stop_token stop = {};
};

// NEFFs that were loaded, unpacked and checked, so that loading one again unpacks nothing. Known by
// the SHA-256 of their content, of which the UUID is a part; a file is known by its inode and times
// and is not even read if nothing of them has changed. (A client that writes to a file through a
// mapping while it loads it may get what it was.) Those used longest ago go first, and so that all
// weights together are no more than kMostBytes. Threadsafe: two that miss at once both read.
class NeffCache {
 public:
  static constexpr uint32_t kDefaultCapacity = 10;
  // Of weights, as they are in the NEFFs; what is packed of them may take 2.25 times as much
  // besides (SealedMemory::kMostMade).
  static constexpr uint64_t kMostBytes = 2 * kGiB;
  // A file that was changed more recently than this when it was read may change again without its
  // times showing it: the kernel's stamps are up to 10 ms coarse, vfat's 2 s.
  static constexpr std::chrono::nanoseconds kSettledAfter = std::chrono::seconds(3);

  explicit NeffCache(std::chrono::nanoseconds settled_after = kSettledAfter)
      : settled_after_(settled_after) {}

  // How many are kept; 0: none. Networks that are loaded keep theirs' weights all the same.
  void SetCapacity(uint32_t count);

  // The largest NEFF that is taken, packed and unpacked; never more than neff::Limits has. What is
  // parsed of it has an eighth of that on top. Set before the first Read().
  void SetMaxNeffBytes(uint64_t bytes) { max_neff_bytes_ = std::min(bytes, max_neff_bytes_); }
  // The most that is kept of NEFFs without a network; never more than kMostBytes. As above.
  void SetMaxBytes(uint64_t bytes) { max_bytes_ = std::min(bytes, max_bytes_); }

  // Condensed: without the archive. Errors of neff::ReadExecutable, for the target of the
  // simulator, of CheckWanted(), and, for a path, of OpenAsUser() and `reserve`. A file's header
  // is checked before anything else of it is read, and no byte of a file that is no NEFF stands in
  // an error. A file that is kept is opened all the same: it must be the user's to read.
  Result<std::shared_ptr<const neff::Neff>> Read(neff::NeffSource source,
                                                 const NeffReading& reading = {});

  uint64_t hits() const { return hits_; }
  uint64_t misses() const { return misses_; }
  uint32_t size() const;

 private:
  struct Entry {
    std::optional<Sha256Digest> content;  // of the whole NEFF; not of one that its file tells apart
    std::optional<FileIdentity> file;
    std::shared_ptr<const neff::Neff> neff;
  };
  struct FromFile;
  Result<FromFile> ReadFile(const std::string& path, const NeffReading& reading);
  using Entries = std::list<Entry>;  // the latest used first
  template <typename Predicate>
  std::shared_ptr<const neff::Neff> Find(Predicate matches) NRTD_EXCLUDES(mutex_);
  void Keep(Entry entry) NRTD_EXCLUDES(mutex_);
  void Shrink(Entries& dropped) NRTD_REQUIRES(mutex_);

  const std::chrono::nanoseconds settled_after_;
  uint64_t max_neff_bytes_ = neff::Limits{}.max_neff_bytes;
  mutable Mutex mutex_;
  Entries entries_ NRTD_GUARDED_BY(mutex_);
  uint32_t capacity_ NRTD_GUARDED_BY(mutex_) = kDefaultCapacity;
  uint64_t max_bytes_ = kMostBytes;
  std::atomic<uint64_t> hits_{0};
  std::atomic<uint64_t> misses_{0};
};

}  // namespace nrtd::runtime
