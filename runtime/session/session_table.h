// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "runtime/ledger/ledger.h"
#include "runtime/session/client.h"

namespace nrtd::runtime {

using scheduler::kAnyProcess;
using scheduler::MayUse;
using scheduler::Owner;
using scheduler::ProcessKey;
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
  Client client;
};

// What lives as long as somebody is there: sessions, each as long as its session_monitor stream,
// and connections. Threadsafe.
class SessionTable {
 public:
  // Sessions are numbered from `first` on, which is below kFirstConnection.
  explicit SessionTable(const Limits& limits = NoLimits(), SessionId first = 1)
      : ledger_(limits), next_(first) {}

  // What clients make the daemon hold. An account belongs to a process.
  Ledger& ledger() { return ledger_; }
  const Ledger& ledger() const { return ledger_; }

  SessionId Open(const Client& client = {});
  // The client stays as it was when the session was opened.
  void Describe(SessionId id, SessionInfo info);
  // False when it was closed already.
  bool Close(SessionId id);
  std::vector<SessionInfo> List() const;  // by rising id

  // The client that has this connection from now on. Connections of one process share a pidfd.
  Client Connect(Peer peer);
  // False when it was disconnected already.
  bool Disconnect(SessionId connection);
  std::vector<Client> Clients() const;  // by rising connection

  // Whether a session or a connection of this number is open, and of the process that asks.
  bool Contains(SessionId id, ProcessKey asking = kAnyProcess) const;

 private:
  Ledger ledger_;
  mutable Mutex mutex_;
  std::map<SessionId, SessionInfo> sessions_ NRTD_GUARDED_BY(mutex_);
  std::map<SessionId, Client> clients_ NRTD_GUARDED_BY(mutex_);  // by connection
  SessionId next_ NRTD_GUARDED_BY(mutex_);
  SessionId next_connection_ NRTD_GUARDED_BY(mutex_) = kFirstConnection;
};

}  // namespace nrtd::runtime
