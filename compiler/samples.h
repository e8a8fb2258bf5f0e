// SPDX-License-Identifier: Apache-2.0
//
// Inputs that a network may get, for what the compiler learns from them (bias_correction.h).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/npy.h"
#include "compiler/ir.h"

namespace nrtd::compiler {

// One inference's inputs by the names of their files, without ".npy".
struct Sample {
  std::string origin;  // the folder, for messages
  std::map<std::string, NpyArray> arrays;
};

// Of a folder that holds one sample's .npy files, or folders of them. kInvalid: there are none or
// both, or a file is none of numpy's.
Result<std::vector<Sample>> ReadSamples(const std::string& folder);

// The elements for an input, whose file has its name with '/' as '_'. kInvalid: it is missing, or
// of another type or shape.
Result<ByteVector> ElementsOf(const Sample& sample, const Value& input);

}  // namespace nrtd::compiler
