// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace nrtd {

// What waits without holding a thread. Wake() is called once for each registration, perhaps with
// the lock of the component that it waits for held, so it only hands work to other threads. It
// means "look again", and may come early.
class Waker {
 public:
  virtual void Wake() = 0;

 protected:
  ~Waker() = default;
};

enum class Attendance {
  kDone,    // it has ended
  kLate,    // the deadline has passed, and it has not ended
  kParked,  // there is nothing to do for this thread; the waker will be called
};

}  // namespace nrtd
