// SPDX-License-Identifier: Apache-2.0
//
// May this NEFF run here? Reading (neff.h) takes any version and target; running does not.
#pragma once

#include <string_view>

#include "base/error.h"
#include "neff/neff.h"

namespace nrtd::neff {

// The target of the simulated Inferentia, in kelf-N.json.
inline constexpr std::string_view kSimTarget = "sim-inf1";

// Semaphores and events of a core of Inferentia 1 (REFERENCE: 32 and 256).
inline constexpr uint32_t kCoreSemaphores = 32;
inline constexpr uint32_t kCoreEvents = 256;

// The versions in the field: 0.6, 1.0, 1.1. kUnsupportedVersion otherwise, with the text that
// clients search for: "NEFF version mismatch supported: 1.1 received: 2.0".
Result<void> CheckVersion(const Header& header);

// CheckVersion(), then kUnsupportedVersion, in this order, for: a kelf whose target is not `target`
// (the text names both), feature bits or a logical core size that Inferentia 1 does not have. Then
// kInvalid for what the public description forbids on Inferentia 1: queue sets of more than one
// queue, semaphores and events that a core does not have, descriptors of other operations than
// copy, or into a state buffer whose size is not declared, or variables of unknown type.
Result<void> CheckExecutable(const Neff& neff, std::string_view target);

// ReadNeff() and CheckExecutable(), but size and version are checked before anything behind the
// header is looked at, so that a NEFF of a later format is refused for its version.
Result<Neff> ReadExecutable(NeffSource source, std::string_view target, const Limits& limits = {});

}  // namespace nrtd::neff
