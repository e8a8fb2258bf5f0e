// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "tools/client/daemon.h"

namespace nrtd::bench {

// Medians over the files.
struct ReloadTimes {
  double first_ms = 0;  // the daemon had not seen the NEFF
  double again_ms = 0;  // it had, and had unloaded it
};

// Loads each NEFF, which the daemon does not know, unloads it, and loads it again some times.
Result<ReloadTimes> MeasureReload(client::Daemon& daemon, const std::vector<std::string>& neffs,
                                  bool by_path);

}  // namespace nrtd::bench
