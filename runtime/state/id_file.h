// SPDX-License-Identifier: Apache-2.0
//
// The file of `--state-directory`: which ids daemons with this directory may have handed out.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/mutex.h"
#include "base/unique_fd.h"

namespace nrtd::runtime {

// A daemon reserves ids before it hands them out, many at a time, so that none comes twice,
// whenever the daemon or the machine dies. Threadsafe.
class IdFile {
 public:
  // How many ids are reserved at a time: a load or a group waits for the disk once in so many.
  static constexpr uint32_t kBlock = 1024;

  // Everything below has been reserved.
  struct Counts {
    uint64_t run = 0;  // starts of the daemon, from a random number
    uint32_t networks = 0;
    uint32_t groups = 0;

    bool operator==(const Counts&) const = default;
  };

  // Takes the directory, which is made if it is missing, for this process alone. Reads its file
  // "ids"; where there is none, counting begins with `initial`. Counts this run in the file.
  // kInvalid: the directory cannot be used, belongs to another daemon, or the file is damaged.
  // kResource: the file cannot be written.
  static Result<std::shared_ptr<IdFile>> Open(const std::string& directory, const Counts& initial);

  // As it was read, with this run: ids from here on were not handed out before.
  const Counts& begin() const { return begin_; }

  // IdRange::reserve of networks and of groups. kResource: the file cannot be written, and nothing
  // is reserved.
  Result<uint32_t> ReserveNetworks(uint32_t next) { return Reserve(&Counts::networks, next); }
  Result<uint32_t> ReserveGroups(uint32_t next) { return Reserve(&Counts::groups, next); }

  // The content of the file, for tests and for reading it back.
  static std::string Format(const Counts& counts);
  // kInvalid unless it is exactly what Format() makes.
  static Result<Counts> Parse(const std::string& text);

 private:
  IdFile(std::string directory, UniqueFd folder)
      : directory_(std::move(directory)), folder_(std::move(folder)) {}
  Result<void> Load(const Counts& initial) NRTD_REQUIRES(mutex_);
  Result<void> Store(const Counts& counts) const;
  Result<uint32_t> Reserve(uint32_t Counts::*member, uint32_t next) NRTD_EXCLUDES(mutex_);

  const std::string directory_;
  const UniqueFd folder_;  // locked
  Counts begin_;
  Mutex mutex_;
  Counts counts_ NRTD_GUARDED_BY(mutex_);  // as in the file
};

}  // namespace nrtd::runtime
