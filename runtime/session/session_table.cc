// SPDX-License-Identifier: Apache-2.0
#include "runtime/session/session_table.h"

#include <utility>

namespace nrtd::runtime {

SessionId SessionTable::Open() {
  MutexLock lock(mutex_);
  const SessionId id = next_++;
  sessions_[id].id = id;
  return id;
}

void SessionTable::Describe(SessionId id, SessionInfo info) {
  MutexLock lock(mutex_);
  const auto session = sessions_.find(id);
  if (session == sessions_.end()) return;
  info.id = id;
  session->second = std::move(info);
}

bool SessionTable::Close(SessionId id) {
  MutexLock lock(mutex_);
  return sessions_.erase(id) > 0;
}

bool SessionTable::Contains(SessionId id) const {
  MutexLock lock(mutex_);
  return sessions_.contains(id);
}

std::vector<SessionInfo> SessionTable::List() const {
  MutexLock lock(mutex_);
  std::vector<SessionInfo> list;
  for (const auto& [id, info] : sessions_) list.push_back(info);
  return list;
}

}  // namespace nrtd::runtime
