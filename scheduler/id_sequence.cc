// SPDX-License-Identifier: Apache-2.0
#include "scheduler/id_sequence.h"

#include <utility>

namespace nrtd::scheduler {

IdSequence::IdSequence(IdRange range)
    : range_(std::move(range)),
      next_(range_.first),
      end_(range_.reserve == nullptr ? UINT32_MAX : range_.first) {}

Result<uint32_t> IdSequence::Next() {
  MutexLock lock(mutex_);
  if (next_ == UINT32_MAX) {
    return Fail(Nerr::kResource,
                "all ids are used up; restart the daemon with an empty state directory");
  }
  if (next_ == end_) {
    NRTD_ASSIGN(end_, range_.reserve(next_));
  }
  return next_++;
}

}  // namespace nrtd::scheduler
