// SPDX-License-Identifier: Apache-2.0
//
// The daemon starts with SYS_ADMIN (physical addresses), IPC_LOCK (pinned memory) and whatever else
// its user has, and gives it all up before it listens: what clients send is read by a process that
// may do nothing in particular.
#pragma once

#include "base/error.h"

namespace nrtd::daemon {

// Drops every capability, from the bounding set too where that is allowed, and sets no_new_privs,
// for this thread and those that it starts: call it while there is no other. kFail with the reason.
Result<void> DropPrivileges();

// From now on system calls that the daemon has no use for (executing programs, mounting, tracing,
// modules, namespaces, ...) fail with EPERM, in all threads. kFail with the reason.
Result<void> RestrictSystemCalls();

}  // namespace nrtd::daemon
