// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "proto/tensorflow/framework.pb.h"
#include "serving/graph/graph.h"

namespace nrtd::serving {

// The NeuronOp that a node is, with all executables that it brings, which are taken out of the
// node. kInvalid with what does not fit together.
Result<Operation> NeuronOf(tensorflow::NodeDef& node);

}  // namespace nrtd::serving
