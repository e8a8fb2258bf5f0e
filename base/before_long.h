// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace nrtd {

// Called on a thread before it starts long work or waits; a thread that serves calls lets another
// one serve them meanwhile (rpc/call_queue.h). Null by default. Must not block or throw.
inline thread_local void (*before_long)() = nullptr;

// Code that starts long work calls this first, possibly with locks held, and as often as it likes.
inline void BeforeLong() {
  if (before_long != nullptr) before_long();
}

}  // namespace nrtd
