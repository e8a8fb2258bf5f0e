// SPDX-License-Identifier: Apache-2.0
//
// Between the tensors of a request or reply and the slot of an inference: each is inline in the
// message or in shared memory that the client mapped before.
#pragma once

#include <memory>
#include <string_view>

#include <google/protobuf/repeated_ptr_field.h>

#include "base/error.h"
#include "memory/shared_memory_table.h"
#include "proto/nrt/nmgr.pb.h"
#include "runtime/model/network.h"

namespace nrtd::service {

// The mappings that a client's requests may name.
struct Mappings {
  const memory::SharedMemoryTable& table;
  memory::RealmId realm = 0;

  Result<std::shared_ptr<memory::SharedMemory>> Lookup(std::string_view path) const {
    return table.Lookup(path, realm);
  }
};

using TensorList = google::protobuf::RepeatedPtrField<nrt::infer_io>;

// Checks names, count and sizes of all inputs, then copies them into the slot. Nothing is copied on
// error. kInvalid: "Wrong number of ifmaps, expected: X, received: Y", "Invalid data length for
// [input:0], received X, expected Y", an unknown or doubled name. Inputs that the compiler folded
// away may be there or not. kInferBadInput: shared memory that is not mapped or no longer as large
// as the tensor, also when it is cut while it is copied.
Result<void> WriteInputs(const TensorList& inputs, const Mappings& shared,
                         runtime::Inference& inference);

// Checks that the places for outputs in shared memory exist, before anything runs: an empty list
// means inline. Errors as above.
Result<void> CheckOutputs(const TensorList& shm_outputs, const Mappings& shared,
                          const runtime::Network& network);

// Copies the outputs into shared memory where the request named some, else into the reply.
Result<void> ReadOutputs(const TensorList& shm_outputs, const Mappings& shared,
                         const runtime::Inference& inference, nrt::infer_response* response);

}  // namespace nrtd::service
