// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/mapped_region.h"
#include "tools/client/daemon.h"

namespace nrtd::client {

// Shared memory of this process that a daemon has mapped; its name is unlinked at once, as the
// TensorFlow plugin does. The daemon's mapping stays until it is unmapped, or its session or this
// process has gone.
class SharedTensor {
 public:
  // Of a session, if one is named. kResource: no shared memory. Errors of shm_map.
  static Result<SharedTensor> Create(Daemon& daemon, uint64_t bytes, uint64_t session_id = 0);

  // What infer_io.buf_shm names.
  const std::string& path() const { return path_; }
  MutableByteSpan bytes() const { return {region_.data(), region_.size()}; }

 private:
  SharedTensor(std::string path, MappedRegion region)
      : path_(std::move(path)), region_(std::move(region)) {}
  std::string path_;
  MappedRegion region_;
};

}  // namespace nrtd::client
