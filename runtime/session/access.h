// SPDX-License-Identifier: Apache-2.0
//
// What a client may use, and what is freed when it goes.
#pragma once

#include <vector>

#include "runtime/session/client.h"

namespace nrtd::runtime {

enum class Isolation {
  kNone,     // any client may use any handle, as in neuron-rtd 1.x
  kSession,  // handles, cookies and mappings work only for the process that made them
};

struct AccessRules {
  Isolation isolation = Isolation::kNone;
  // Operators: with kSession their processes may use everybody's handles.
  std::vector<uid_t> operator_uids;
  std::vector<gid_t> operator_gids;
  // What a client makes without a session is freed when its connection ends.
  bool reclaim_on_disconnect = false;

  // May the client do what only operators may: root, the daemon's own user, and those above?
  bool IsOperator(const Client& client) const;
  // In whose name a client's calls ask.
  scheduler::ProcessKey AskingAs(const Client& client) const;
  // To whom what it makes belongs; `session` is the one that it names, 0 for none.
  scheduler::Owner OwnerFor(const Client& client, scheduler::SessionId session) const;
  // With neither, no call needs to know its client.
  bool need_client() const { return isolation != Isolation::kNone || reclaim_on_disconnect; }
};

}  // namespace nrtd::runtime
