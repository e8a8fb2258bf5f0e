// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/error.h"
#include "base/mapped_region.h"
#include "tools/client/daemon.h"

namespace nrtd::bench {

// Shared memory of this process that a daemon has mapped; its name is unlinked at once, as the
// TensorFlow plugin does.
class SharedTensor {
 public:
  // kResource: no shared memory. Errors of shm_map.
  static Result<SharedTensor> Create(client::Daemon& daemon, uint64_t bytes);

  // What infer_io.buf_shm names.
  const std::string& path() const { return path_; }
  MutableByteSpan bytes() { return {region_.data(), region_.size()}; }

 private:
  SharedTensor(std::string path, MappedRegion region)
      : path_(std::move(path)), region_(std::move(region)) {}
  std::string path_;
  MappedRegion region_;
};

}  // namespace nrtd::bench
