// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <set>

namespace nrtd::deploy {

// `count` of the devices `available`, all of `required` (which are available) among them, rising:
// neighbours in the chain, out of the shortest run that has them, so that long runs stay whole for
// others. Where there are no such neighbours, those of `required` and the lowest others: the daemon
// then says what is wrong with them.
std::set<uint32_t> ChooseNeighbours(const std::set<uint32_t>& available,
                                    const std::set<uint32_t>& required, uint32_t count);

// How many of `devices` stand in a row with `device`, itself one of them.
uint32_t LengthOfRun(const std::set<uint32_t>& devices, uint32_t device);

}  // namespace nrtd::deploy
