// SPDX-License-Identifier: Apache-2.0
//
// Tensors that an ONNX model keeps in files beside it: the only way to more than 2 GiB.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "base/mapped_region.h"

namespace nrtd::compiler {

class ExternalData {
 public:
  // Of the model in this file.
  explicit ExternalData(const std::string& model_path)
      : folder_(std::filesystem::path(model_path).parent_path()) {}

  // `length` bytes (0: all that follow) from `offset` on of the file `location`, relative to the
  // model's folder; valid while this lives. kInvalid: a path that leads out of the folder, or
  // over a symbolic link below it, no regular file, a range beyond its end. The file must not
  // shrink meanwhile.
  Result<ByteSpan> Read(const std::string& location, uint64_t offset, uint64_t length);

 private:
  std::filesystem::path folder_;
  std::map<std::string, MappedRegion> files_;  // by location
};

}  // namespace nrtd::compiler
