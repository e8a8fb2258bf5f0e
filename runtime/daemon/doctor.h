// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "base/error.h"
#include "runtime/daemon/options.h"

namespace nrtd::daemon {

// One thing that the daemon needs: what was found, or the cause and the command that mends it.
struct Finding {
  std::string subject;
  Result<std::string> outcome;
};

// Looks and takes nothing; may run beside a daemon.
std::vector<Finding> Findings(const Options& options);

// `neuron-rtd doctor`: prints "ok" or "FAIL" for each. True when all are ok.
bool Examine(const Options& options, std::ostream& out);

}  // namespace nrtd::daemon
