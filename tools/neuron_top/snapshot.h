// SPDX-License-Identifier: Apache-2.0
//
// What neuron-top shows: two samples of a daemon, and the picture that their difference makes.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "proto/nrtd/v1/control.pb.h"
#include "tools/client/daemon.h"

namespace nrtd::top {

struct CoreTime {
  TimePoint at;
  uint64_t busy_ns = 0;  // since the daemon's start
};

struct Sample {
  v1::ListNetworksResponse networks;
  v1::ListDevicesResponse devices;
  std::map<uint32_t, CoreTime> cores;  // by virtual core
};

Result<Sample> TakeSample(client::Daemon& daemon, Clock& clock);

// Percent of the time between two samples that each virtual core was busy, 0 to 100. Only the
// cores of both samples; 0 if no time has passed or the counter went backwards (a new daemon).
std::map<uint32_t, double> Utilization(const Sample& before, const Sample& after);

// The networks and devices of `after`. `time` is local, "2020-02-12 23:03:15".
std::string SnapshotText(const Sample& after, const std::map<uint32_t, double>& utilization,
                         const std::string& time);
nlohmann::json SnapshotJson(const Sample& after, const std::map<uint32_t, double>& utilization,
                            const std::string& time);

}  // namespace nrtd::top
