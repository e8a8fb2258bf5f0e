// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace nrtd::testing {

struct Finished {
  int exit_code = -1;  // -1 if a signal ended it
  std::string out;
  std::string err;
};

// Runs bin/<name> of this build, or the program with this absolute path, with `arguments` to its
// end. The environment is ours, without NEURON_RTD_ADDRESS, plus `variables` ("NAME=value").
Finished RunBinary(const std::string& name, const std::vector<std::string>& arguments,
                   const std::vector<std::string>& variables = {});

}  // namespace nrtd::testing
