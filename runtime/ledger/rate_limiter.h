// SPDX-License-Identifier: Apache-2.0
//
// How often a client may ask for what is no inference.
//
// Each client has a bucket of tokens that fills at a steady rate. What it asks for goes on while
// there is one, and takes its cost, perhaps into debt; otherwise it waits, in the order it came,
// and holds no thread. So a client that connects, loads and unloads without end leaves the threads
// that read requests to the others: four such clients made an inference of a fifth wait 14 ms for
// its turn to be read, on two CPUs. Few calls of a client wait. Beyond them it is refused, which
// costs tokens too, and a client that goes on all the same is to be cut off.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/clock.h"
#include "base/mutex.h"
#include "scheduler/owner.h"

namespace nrtd::runtime {

// Threadsafe.
class RateLimiter {
 public:
  // A bucket holds as many tokens as come in so many seconds.
  static constexpr double kBurstSeconds = 5;
  // What costs how much: as the daemon's CPU time goes.
  static constexpr double kCall = 1;
  static constexpr double kConnection = 4;
  // Calls that wait, of a client and of all together. Connections that wait have other limits.
  static constexpr size_t kMostCalls = 64;
  static constexpr size_t kMostCallsTogether = 1024;

  enum class Verdict {
    kGoOn,     // at once
    kWaits,    // `go_on` is called when it may
    kRefused,  // too many calls wait
    kCutOff,   // and the client has been refused for seconds
  };
  // 0 for whatever does not wait.
  using Ticket = uint64_t;

  // `per_second` tokens a client; 0: no limit. The others outlive this. Whatever waited goes on by
  // the thread that runs `io`.
  RateLimiter(boost::asio::io_context& io, Clock& clock, double per_second);

  // `go_on` may be called before this returns; it takes no time and never waits. Without one the
  // call is refused instead of waiting. std::bad_alloc leaves everything as it was.
  Verdict AdmitCall(scheduler::ProcessKey client, std::function<void()> go_on);
  // The same for a connection, which is never refused; the ticket is 0 if it goes on.
  Ticket AdmitConnection(scheduler::ProcessKey client, std::function<void()> go_on);
  // What waits with this ticket has gone, and costs nothing. Nothing when it went on.
  void Forget(scheduler::ProcessKey client, Ticket ticket);
  // No limit from now on: calls everything that waits. `io` does not run.
  void Open();
  // What waits and may by now goes on: what the timer does.
  void GoOn();
  // Clients that are remembered.
  size_t buckets() {
    MutexLock lock(mutex_);
    return buckets_.size();
  }

 private:
  struct Waiting {
    Ticket ticket;
    double cost;
    std::function<void()> go_on;
  };
  struct Bucket {
    double level;
    TimePoint filled_at;
    std::list<Waiting> waiting;
    size_t calls = 0;  // among them
  };
  double LevelAt(const Bucket& bucket, TimePoint now) const;
  Bucket& BucketOf(scheduler::ProcessKey client, TimePoint now) NRTD_REQUIRES(mutex_);
  Ticket Wait(Bucket& bucket, double cost, std::function<void()> go_on) NRTD_REQUIRES(mutex_);
  void Schedule();

  boost::asio::io_context& io_;
  Clock& clock_;
  const double per_second_;
  const double burst_;
  boost::asio::steady_timer timer_;
  Mutex mutex_;
  std::map<scheduler::ProcessKey, Bucket> buckets_ NRTD_GUARDED_BY(mutex_);
  size_t most_buckets_ NRTD_GUARDED_BY(mutex_);  // full ones go when there are more
  size_t calls_ NRTD_GUARDED_BY(mutex_) = 0;     // that wait
  Ticket next_ticket_ NRTD_GUARDED_BY(mutex_) = 1;
  bool scheduled_ NRTD_GUARDED_BY(mutex_) = false;
  bool open_ NRTD_GUARDED_BY(mutex_) = false;
};

}  // namespace nrtd::runtime
