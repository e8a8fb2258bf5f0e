// SPDX-License-Identifier: Apache-2.0
//
// Which of the machine's devices a daemon takes: pure functions over the chain.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace nrtd {

// What was asked for. Devices are numbered by their place in the machine's chain.
struct DeviceSelection {
  std::vector<std::string> bdfs = {};  // -t, "0000:00:1f.0" or "00:1f.0"; empty: any
  std::vector<uint32_t> numbers = {};  // an instance file's "devices"; empty: any
  std::string visible = "all";  // AWS_NEURON_VISIBLE_DEVICES: "all", "" (the same), "0", "2,3"
};

// The places in `chain` (the devices' BDFs) that are taken, rising. kInvalid, naming what was asked
// for and what there is: an unknown device, one that is not visible, no list of numbers, or devices
// that are no neighbours in the chain.
Result<std::vector<uint32_t>> SelectDevices(const std::vector<std::string>& chain,
                                            const DeviceSelection& selection);

}  // namespace nrtd
