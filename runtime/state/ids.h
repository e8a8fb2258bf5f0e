// SPDX-License-Identifier: Apache-2.0
//
// Where the ids of a run begin. Clients keep ids across a restart of the daemon, so none of an
// earlier run may come again: it would name what is another client's.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "scheduler/id_sequence.h"
#include "scheduler/owner.h"

namespace nrtd::runtime {

// REFERENCE: the first ids of neuron-rtd 1.x.
inline constexpr uint32_t kFirstNetwork = 10'001;
inline constexpr uint32_t kFirstGroup = 1;

struct IdBases {
  scheduler::IdRange networks{.first = kFirstNetwork};
  scheduler::IdRange groups{.first = kFirstGroup};
  // Below 2^62, and so are all that follow in practice.
  scheduler::SessionId first_session = 1;
  uint64_t first_cookie = 1;
};

struct IdOptions {
  std::string state_directory = {};  // "": none
  // The folder of the socket, where it was empty before the socket was made; "": it was not, or
  // there is none.
  std::string fresh_folder = {};
};

// What tells the next daemon of a socket's folder that ids were handed out there.
inline constexpr const char* kFolderMark = ".neuron-rtd";

// With a state directory: every id is new, as its file says (id_file.h). A directory without a file
// begins as a daemon without a directory would.
// Without: 10001 and group 1 in a fresh folder, which is marked. Otherwise, or where it cannot be
// marked, all begin at random: networks and groups above 2^20 and below 2^31 - 2^24, so that two
// runs of 1,000 ids have one in common once in a million times.
// Sessions and cookies always begin at random, or by the number of the run.
// Errors of IdFile::Open(); kFail: the system has no random numbers.
Result<IdBases> ChooseIds(const IdOptions& options);

}  // namespace nrtd::runtime
