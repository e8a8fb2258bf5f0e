// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace nrtd {

// What the calling thread does before it computes for long or waits: one that takes calls lets
// another take them meanwhile (rpc/call_queue.h). Null: nothing. Must not block or throw.
inline thread_local void (*before_long)() = nullptr;

// Called where that begins, perhaps with locks held; may be called again.
inline void BeforeLong() {
  if (before_long != nullptr) before_long();
}

}  // namespace nrtd
