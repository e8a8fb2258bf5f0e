// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace nrtd {

// How many CPUs this process may use, at least 1: those that its affinity allows, or as many as the
// CPU quotas of its control groups are worth, whichever is less.
unsigned UsableCpus();

}  // namespace nrtd
