// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <google/protobuf/message.h>

#include "base/error.h"

namespace nrtd::serving {

// A file with a message in protobuf's text form. kInvalid with the path, the line and what is wrong
// there; errors of ReadTextFile().
Result<void> ReadTextMessage(const std::string& path, google::protobuf::Message* message);

}  // namespace nrtd::serving
