// SPDX-License-Identifier: Apache-2.0
#include "serving/neuron/tensor_sets.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/before_long.h"
#include "rpc/call_queue.h"

namespace nrtd::serving {
namespace {

Shape ShapeOf(const op::NeuronTensor& tensor, int64_t batch) {
  Shape shape = tensor.shape;
  if (tensor.batch_axis >= 0) shape[static_cast<size_t>(tensor.batch_axis)] = batch;
  return shape;
}

uint64_t BytesOf(const op::NeuronTensor& tensor, int64_t batch) {
  return ElementCount(ShapeOf(tensor, batch)).value_or(0) * DTypeSize(tensor.dtype);
}

bool IsLarge(uint64_t bytes) {
  return bytes > rpc::kShortMessage;
}

// The output of that name, out of the response or out of shared memory.
std::optional<std::string> TakeOutput(const std::string& name, size_t index,
                                      nrt::infer_response& response, const TensorSet* set) {
  if (set != nullptr && !set->outputs.empty()) {
    const ByteSpan bytes = set->outputs[index].bytes();
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  for (nrt::infer_io& io : *response.mutable_ofmap())
    if (io.name() == name) return std::move(*io.mutable_buf());
  return std::nullopt;
}

}  // namespace

TensorSets::TensorSets(NeuronRuntime& runtime, const op::Neuron& op, int64_t batch)
    : runtime_(runtime) {
  // The daemon takes no memory of 0 bytes.
  bool any_empty = false;
  const auto bytes_of = [&](const op::NeuronTensor& tensor) {
    const uint64_t bytes = BytesOf(tensor, batch);
    any_empty |= bytes == 0;
    return bytes;
  };
  for (const op::NeuronTensor& input : op.inputs) inputs_.push_back(bytes_of(input));
  for (const op::NeuronTensor& output : op.outputs) outputs_.push_back(bytes_of(output));
  for (uint64_t& bytes : inputs_)
    if (!IsLarge(bytes)) bytes = 0;
  if (any_empty || std::none_of(outputs_.begin(), outputs_.end(), IsLarge)) outputs_.clear();
}

TensorSets::~TensorSets() {
  MutexLock lock(mutex_);
  for (auto& set : free_) Drop(std::move(set));
}

std::unique_ptr<TensorSet> TensorSets::Take() {
  if (outputs_.empty() && std::none_of(inputs_.begin(), inputs_.end(), IsLarge)) return nullptr;
  if (!runtime_.shares_memory()) return nullptr;
  {
    MutexLock lock(mutex_);
    if (!free_.empty()) {
      auto set = std::move(free_.back());
      free_.pop_back();
      return set;
    }
  }
  BeforeLong();
  auto made = Make();
  if (made) return std::move(*made);
  runtime_.ShareNoMemory(made.error());
  return nullptr;
}

Result<std::unique_ptr<TensorSet>> TensorSets::Make() {
  auto set = std::make_unique<TensorSet>();
  const auto make = [&](uint64_t bytes) {
    return client::SharedTensor::Create(runtime_.daemon(), bytes, runtime_.session_id());
  };
  set->inputs.resize(inputs_.size());
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i] == 0) continue;
    NRTD_ASSIGN(set->inputs[i], make(inputs_[i]));
  }
  for (const uint64_t bytes : outputs_) {
    NRTD_ASSIGN(client::SharedTensor output, make(bytes));
    set->outputs.push_back(std::move(output));
  }
  return set;
}

void TensorSets::GiveBack(std::unique_ptr<TensorSet> set) {
  if (set == nullptr) return;
  MutexLock lock(mutex_);
  free_.push_back(std::move(set));
}

void TensorSets::Drop(std::unique_ptr<TensorSet> set) {
  if (set == nullptr || runtime_.is_lost()) return;
  BeforeLong();
  // What cannot be unmapped goes with the session.
  for (const auto& input : set->inputs)
    if (input) (void)runtime_.daemon().UnmapSharedMemory(input->path());
  for (const auto& output : set->outputs) (void)runtime_.daemon().UnmapSharedMemory(output.path());
}

nrt::infer_request RequestOf(const op::Neuron& op, uint32_t network, std::vector<Tensor> inputs,
                             const TensorSet* set) {
  nrt::infer_request request;
  request.mutable_h_nn()->set_id(network);
  for (size_t i = 0; i < inputs.size(); ++i) {
    nrt::infer_io& io = *request.add_ifmap();
    io.set_name(op.inputs[i].name);
    if (set != nullptr && set->inputs[i]) {
      std::memcpy(set->inputs[i]->bytes().data(), inputs[i].bytes().data(),
                  inputs[i].bytes().size());
      io.mutable_buf_shm()->set_path(set->inputs[i]->path());
    } else {
      *io.mutable_buf() = std::move(inputs[i]).TakeBytes();
    }
  }
  for (size_t i = 0; set != nullptr && i < set->outputs.size(); ++i) {
    nrt::infer_io& io = *request.add_shm_ofmap();
    io.set_name(op.outputs[i].name);
    io.mutable_buf_shm()->set_path(set->outputs[i].path());
  }
  return request;
}

Result<std::vector<Tensor>> OutputsOf(const op::Neuron& op, int64_t batch,
                                      nrt::infer_response& response, const TensorSet* set) {
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < op.outputs.size(); ++i) {
    const op::NeuronTensor& wanted = op.outputs[i];
    auto bytes = TakeOutput(wanted.name, i, response, set);
    if (!bytes)
      return Fail(Nerr::kFail, "the daemon answered without the output '{}'", wanted.name);
    NRTD_ASSIGN(Tensor output,
                Tensor::Make(wanted.dtype, ShapeOf(wanted, batch), std::move(*bytes)));
    outputs.push_back(std::move(output));
  }
  return outputs;
}

}  // namespace nrtd::serving
