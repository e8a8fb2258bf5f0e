// SPDX-License-Identifier: Apache-2.0
//
// Ids of networks and groups: each is handed out once.
#pragma once

#include <cstdint>
#include <functional>

#include "base/error.h"
#include "base/mutex.h"

namespace nrtd::scheduler {

// Which ids a sequence hands out.
struct IdRange {
  uint32_t first = 1;
  // Where ids must not repeat after a restart: called with the id that comes next when it is not
  // reserved yet. Answers an id above it; those below that one may be handed out. Its error is the
  // caller's. Without it all ids may be handed out.
  std::function<Result<uint32_t>(uint32_t next)> reserve = nullptr;
};

// Threadsafe.
class IdSequence {
 public:
  explicit IdSequence(IdRange range);

  // Ascending. kResource when no id is left; errors of IdRange::reserve, after which the same id is
  // tried again. May wait for a disk, once for many ids.
  Result<uint32_t> Next() NRTD_EXCLUDES(mutex_);

 private:
  const IdRange range_;
  Mutex mutex_;
  uint32_t next_ NRTD_GUARDED_BY(mutex_);
  uint32_t end_ NRTD_GUARDED_BY(mutex_);  // those below it are reserved
};

}  // namespace nrtd::scheduler
