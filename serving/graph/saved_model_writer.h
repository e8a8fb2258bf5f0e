// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"
#include "proto/tensorflow/saved_model.pb.h"

namespace nrtd::serving {

// An input or output of a compiled network.
struct SavedPort {
  std::string key;   // in the signature
  std::string name;  // in the NEFF
  DType dtype = DType::kFloat32;
  Shape shape;
  bool batched = false;  // dimension 0 is the batch
};

// The same network compiled for other shapes: another size of the batch.
struct SavedVariant {
  std::vector<Shape> input_shapes;  // of the network's inputs, in their order
  std::vector<Shape> output_shapes;
  std::string neff;
};

struct SavedNetwork {
  std::string name;
  std::string method = "predict";  // of the signature; or "classify", "regress"
  std::vector<SavedPort> inputs;
  std::vector<SavedPort> outputs;
  std::string neff;
  uint32_t cores = 1;  // that the network was cut for
  std::vector<SavedVariant> variants;
};

// The network as tensorflow-neuron 1.x saves one: placeholders, one NeuronOp, an IdentityN for each
// output, and the signature "serving_default". The batch is open in the signature. Variants stand
// in attributes of the NeuronOp that begin with "_", which TensorFlow passes over. kInvalid: two
// keys are equal, or too large for a message.
Result<tensorflow::SavedModel> MakeSavedModel(SavedNetwork network);

// Writes folder/version/saved_model.pb. The version's folder appears with the file in it, also for
// a server that watches. kInvalid with the path: it is there already, or cannot be written.
Result<void> WriteSavedModel(const tensorflow::SavedModel& saved_model, const std::string& folder,
                             int64_t version);

}  // namespace nrtd::serving
