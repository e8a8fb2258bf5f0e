// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "proto/tensorflow_serving/config.pb.h"
#include "serving/model/model_manager.h"

namespace nrtd::serving {

// The models of a --model_config_file or of a ReloadConfigRequest. kInvalid: no model_config_list,
// another platform than "tensorflow".
Result<std::vector<ModelSource>> SourcesOf(const tensorflow::serving::ModelServerConfig& config);

}  // namespace nrtd::serving
