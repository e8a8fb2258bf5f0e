// SPDX-License-Identifier: Apache-2.0
#include "runtime/session/access.h"

#include <algorithm>

#include <unistd.h>

namespace nrtd::runtime {

bool AccessRules::IsOperator(const Client& client) const {
  if (client.process == kNoProcess || client.connection == 0) return false;
  const auto has = [](const auto& list, auto id) {
    return std::find(list.begin(), list.end(), id) != list.end();
  };
  return client.peer.uid == 0 || client.peer.uid == ::geteuid() ||
         has(operator_uids, client.peer.uid) || has(operator_gids, client.peer.gid);
}

scheduler::ProcessKey AccessRules::AskingAs(const Client& client) const {
  if (isolation == Isolation::kNone) return scheduler::kAnyProcess;
  if (client.process == kNoProcess) return kNoProcess;
  const auto has = [](const auto& list, auto id) {
    return std::find(list.begin(), list.end(), id) != list.end();
  };
  if (has(operator_uids, client.peer.uid) || has(operator_gids, client.peer.gid))
    return scheduler::kAnyProcess;
  return client.process;
}

scheduler::Owner AccessRules::OwnerFor(const Client& client, scheduler::SessionId session) const {
  const bool by_connection = session == 0 && reclaim_on_disconnect;
  return {.session = by_connection ? client.connection : session, .process = client.process};
}

}  // namespace nrtd::runtime
