// SPDX-License-Identifier: Apache-2.0
//
// Every time-out of the daemon, each with its reason.
#pragma once

#include "base/clock.h"

namespace nrtd {

// A transfer of one 2 MiB staging buffer takes under 1 ms at PCIe speed; three orders above that,
// the engine is dead.
inline constexpr Duration kDmaTransferTimeout = std::chrono::seconds(2);

// model_params.timeout of a load that names none (REFERENCE: 2 s an inference).
inline constexpr Duration kDefaultInferenceTimeout = std::chrono::seconds(2);

// How long a stop waits for inferences in flight beyond their own time-out: they end by then,
// whatever happens.
inline constexpr Duration kDrainMargin = std::chrono::seconds(1);

// A stop or an unload waits no longer than this for what is in flight, whatever time-outs clients
// chose: long enough for the slowest network that is used.
inline constexpr Duration kMaxDrain = std::chrono::minutes(10);

// How long an inference that nobody waits for any more, its client having gone, may still take
// before its cores are reset: what a client made is free within 100 ms of its end.
inline constexpr Duration kAbandonedGrace = std::chrono::milliseconds(10);

// An uncollected posted inference gives its slot back this long after it has ended, at most
// one sweep later. A client that is still interested asks within milliseconds.
inline constexpr Duration kUncollectedFor = std::chrono::minutes(10);
inline constexpr Duration kUncollectedSweep = std::chrono::minutes(1);

// Before another accept() after one that failed for want of descriptors: somebody may close some.
inline constexpr Duration kAcceptPause = std::chrono::milliseconds(100);

// A daemon that is told to end gives calls in flight so long, which is a client's default inference
// time-out; then cores are reset and loads stopped. It has ended by kShutdownBound in any case: a
// reset takes milliseconds.
inline constexpr Duration kShutdownGrace = std::chrono::seconds(2);
inline constexpr Duration kShutdownBound = kShutdownGrace + std::chrono::seconds(1);

// How long a client may keep a call waiting that holds memory: for the next message of an upload,
// and until an answer is read. A client under a debugger may exceed them; its calls are cancelled,
// its session stays.
inline constexpr Duration kNextMessageTimeout = std::chrono::seconds(30);
inline constexpr Duration kAnswerReadTimeout = std::chrono::seconds(30);
// A message that has begun to arrive and of which no more comes, although the client may send it:
// its connection is shut down. gRPC has buffered all that has come, and sends without pause itself;
// three orders above the longest pause of a client that a busy machine does not run. One that is
// stopped in a debugger while it sends loses its connection.
inline constexpr Duration kMessageStallTimeout = std::chrono::seconds(10);
// How often the calls and messages above are looked at, while there are any.
inline constexpr Duration kCallDeadlineCheck = std::chrono::seconds(1);

// A process of which the kernel does not tell the end (before Linux 6.5) counts as ended when it
// has had no connection for so long: a client that reconnects finds its mappings still there.
inline constexpr Duration kForgottenAfter = std::chrono::seconds(60);

// Free memory goes back to the system so long after the last large message or unload: long enough
// for a client that sends one after another, short enough that memory is flat two seconds later.
inline constexpr Duration kTrimAfter = std::chrono::seconds(1);
// And again whenever the heap has become smaller since, until that did not happen for so long: gRPC
// frees the calls of a lost connection seconds later. Longer than a client can make a call wait.
inline constexpr Duration kHeapWatchedFor = std::chrono::seconds(40);

// Between attempts to get devices and huge pages: doubled from one to the other.
inline constexpr Duration kFirstRetryPause = std::chrono::seconds(1);
inline constexpr Duration kMostRetryPause = std::chrono::minutes(1);

// The shortest interval between HTTP/2 pings on a connection without data. Clients may ping every
// 5 s; the rest is for a ping that arrives late, with the next one on time.
inline constexpr std::chrono::milliseconds kMinPingInterval{4500};

}  // namespace nrtd
