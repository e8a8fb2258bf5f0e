// SPDX-License-Identifier: Apache-2.0
//
// SavedModels as tensorflow-neuron 1.x writes them.
#pragma once

#include <string>

#include "proto/tensorflow/saved_model.pb.h"
#include "serving/graph/graph.h"

namespace nrtd::serving {

inline constexpr int kMaxGraphNodes = 65'536;

// What folder/saved_model.pb holds, tags "serve". kInvalid with the file: it cannot be read or
// decoded, no meta graph of the tag, a graph that is not a graph. Operations that the model server
// does not have are all named at once, with their nodes; those that no signature needs do not
// count.
Result<tensorflow::SavedModel> ReadSavedModelFile(const std::string& folder);
// The same from a message, whose constants and executables are taken out.
Result<Graph> BuildGraph(tensorflow::SavedModel& saved_model);

}  // namespace nrtd::serving
