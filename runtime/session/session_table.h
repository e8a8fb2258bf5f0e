// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "scheduler/group_table.h"

namespace nrtd::runtime {

using scheduler::SessionId;

struct VersionInfo {
  std::string full;
  uint32_t major = 0;
  uint32_t minor = 0;
};

// What a client said about itself in its session_monitor request; empty for a probe that wrote
// nothing.
struct SessionInfo {
  SessionId id = 0;
  std::string framework;
  VersionInfo framework_version;
  VersionInfo client_version;
};

// The sessions that are open: each as long as its session_monitor stream. Threadsafe.
class SessionTable {
 public:
  SessionId Open();
  void Describe(SessionId id, SessionInfo info);
  // False when it was closed already.
  bool Close(SessionId id);
  bool Contains(SessionId id) const;
  std::vector<SessionInfo> List() const;  // by rising id

 private:
  mutable Mutex mutex_;
  std::map<SessionId, SessionInfo> sessions_ NRTD_GUARDED_BY(mutex_);
  SessionId next_ NRTD_GUARDED_BY(mutex_) = 1;
};

}  // namespace nrtd::runtime
