// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "compiler/compile.h"

namespace nrtd::compiler {

// Where a compiled network goes as a SavedModel, and what its signature calls things.
struct SavedModelTarget {
  std::string folder;  // of the model; its versions are folders in it
  std::string model_name;
  int64_t version = 1;
  std::string method = "predict";                 // of its signature
  std::map<std::string, std::string> input_keys;  // by the network's names; others keep theirs
  std::map<std::string, std::string> output_keys;
};

// A compiled network, and the file with its NEFF.
struct CompiledFile {
  CompileReport report;
  std::string neff_path;
};

// Writes target.folder/version/saved_model.pb, and returns that path. The compilations, at least
// one, are of the same network for different batches. kInvalid: a key names no input or output;
// errors of MakeSavedModel() and WriteSavedModel().
Result<std::string> SaveAsSavedModel(const std::vector<CompiledFile>& compiled,
                                     const SavedModelTarget& target);

// "input_ids=ids:0" into `keys`: the network's tensor ids:0 is input_ids in the signature.
Result<void> AddKey(const std::string& assignment, std::map<std::string, std::string>& keys);

}  // namespace nrtd::compiler
