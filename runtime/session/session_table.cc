// SPDX-License-Identifier: Apache-2.0
#include "runtime/session/session_table.h"

#include <utility>

namespace nrtd::runtime {

SessionId SessionTable::Open(const Client& client) {
  MutexLock lock(mutex_);
  const SessionId id = next_++;
  SessionInfo& session = sessions_[id];
  session.id = id;
  session.client = client;
  return id;
}

void SessionTable::Describe(SessionId id, SessionInfo info) {
  MutexLock lock(mutex_);
  const auto session = sessions_.find(id);
  if (session == sessions_.end()) return;
  info.id = id;
  info.client = std::move(session->second.client);
  session->second = std::move(info);
}

bool SessionTable::Close(SessionId id) {
  MutexLock lock(mutex_);
  return sessions_.erase(id) > 0;
}

std::vector<SessionInfo> SessionTable::List() const {
  MutexLock lock(mutex_);
  std::vector<SessionInfo> list;
  for (const auto& [id, info] : sessions_) list.push_back(info);
  return list;
}

Client SessionTable::Connect(Peer peer) {
  MutexLock lock(mutex_);
  Client client;
  client.connection = next_connection_++;
  client.process = ProcessKeyOf(peer, client.connection);
  client.peer = std::move(peer);
  // One pidfd serves all connections of a process.
  for (const auto& [connection, other] : clients_) {
    if (other.process != client.process) continue;
    client.peer.pidfd = other.peer.pidfd;
    break;
  }
  client.account = ledger_.Account(client.process, client.Text());
  clients_.emplace(client.connection, client);
  return client;
}

bool SessionTable::Disconnect(SessionId connection) {
  MutexLock lock(mutex_);
  return clients_.erase(connection) > 0;
}

std::vector<Client> SessionTable::Clients() const {
  MutexLock lock(mutex_);
  std::vector<Client> list;
  for (const auto& [connection, client] : clients_) list.push_back(client);
  return list;
}

bool SessionTable::Contains(SessionId id, ProcessKey asking) const {
  MutexLock lock(mutex_);
  if (const auto client = clients_.find(id); client != clients_.end())
    return MayUse(asking, client->second.process);
  const auto session = sessions_.find(id);
  return session != sessions_.end() && MayUse(asking, session->second.client.process);
}

}  // namespace nrtd::runtime
