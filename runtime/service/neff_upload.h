// SPDX-License-Identifier: Apache-2.0
//
// Puts the one-field messages of a load stream together.
#pragma once

#include <string>

#include "base/error.h"
#include "base/mapped_region.h"
#include "proto/nrt/nmgr.pb.h"
#include "runtime/runtime.h"

namespace nrtd::service {

// Fields may come in any order. Resident memory grows with what really arrives, not with what
// neff_size promises.
class NeffUpload {
 public:
  // What arrives is charged to `account` (network-bytes); null: to nobody.
  explicit NeffUpload(std::shared_ptr<runtime::ClientAccount> account = nullptr)
      : account_(std::move(account)) {}

  // kInvalid: more data than neff_size or than any NEFF may have, a message without a field.
  // kResource: no memory, or the client may have no more.
  Result<void> Add(const nrt::load_request& message);
  // kInvalid: neither chunks nor a path, or both; "Wrong NEFF file size" when the chunks are not
  // what neff_size says. kResource: no memory.
  Result<runtime::LoadRequest> Finish();

 private:
  Result<void> SetSize(uint64_t size);
  Result<void> AddChunk(const std::string& chunk);
  // Room for so many bytes in all.
  Result<void> Reserve(uint64_t bytes);

  std::shared_ptr<runtime::ClientAccount> account_;
  runtime::LoadRequest request_;
  runtime::Charge charge_;  // of data_
  uint64_t declared_size_ = 0;
  bool has_size_ = false;
  // A mapping of its own, which grows without being copied, and which a network keeps as it is if
  // its NEFF is one that devices can share right from there (neff::Neff::Condense()).
  MappedRegion data_;
  uint64_t size_ = 0;  // that have arrived, in data_
  std::string path_;
};

}  // namespace nrtd::service
