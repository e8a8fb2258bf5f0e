// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/daemon/options.h"

namespace nrtd::daemon {

// A daemon whose devices or huge pages cannot be had now: answers every call with code 6 and the
// reason, and tries again after a second, two, four, at most a minute. When all is there it starts
// anew in place (execve with `argv`, same pid), so that what serves has never been anything else
// and drops its privileges before it has a thread. Returns the exit code when `io` is stopped.
int AwaitMachine(const Options& options, service::Endpoint endpoint, const Error& reason,
                 Clock& clock, boost::asio::io_context& io, char** argv);

}  // namespace nrtd::daemon
