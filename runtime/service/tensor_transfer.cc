// SPDX-License-Identifier: Apache-2.0
#include "runtime/service/tensor_transfer.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "memory/guarded_copy.h"

namespace nrtd::service {
namespace {

using runtime::TensorPort;
using Ports = std::vector<TensorPort>;

// Clients name tensors in the network's order nearly always, so the search starts where the last
// one ended.
std::optional<size_t> FindPort(const Ports& ports, std::string_view name, size_t hint) {
  for (size_t i = 0; i < ports.size(); ++i) {
    const size_t at = (hint + i) % ports.size();
    if (ports[at].name == name) return at;
  }
  return std::nullopt;
}

tl::unexpected<Error> WrongLength(const TensorPort& port, uint64_t received) {
  return Fail(Nerr::kInvalid, "Invalid data length for [{}], received {}, expected {}", port.name,
              received, port.bytes);
}

// Shared memory as one tensor sees it; keeps the mapping alive.
struct SharedTensor {
  std::shared_ptr<memory::SharedMemory> mapping;
  ByteSpan bytes;
};

Error BadSharedMemory(Error error, const TensorPort& port) {
  error.code = Nerr::kInferBadInput;
  return std::move(error).In(fmt::format("shared memory for [{}]", port.name));
}

tl::unexpected<Error> Truncated(const TensorPort& port) {
  return tl::unexpected<Error>(
      BadSharedMemory({Nerr::kInvalid, "the file was truncated while it was in use"}, port));
}

Result<SharedTensor> FindInput(const nrt::infer_io& tensor, const TensorPort& port,
                               const Mappings& shared) {
  auto mapping = shared.Lookup(tensor.buf_shm().path());
  if (!mapping) return tl::unexpected<Error>(BadSharedMemory(std::move(mapping.error()), port));
  auto bytes = (*mapping)->ReadRange(0, port.bytes);
  if (!bytes) return tl::unexpected<Error>(BadSharedMemory(std::move(bytes.error()), port));
  return SharedTensor{std::move(*mapping), *bytes};
}

Result<MutableByteSpan> FindOutput(const nrt::infer_io& tensor, const TensorPort& port,
                                   const Mappings& shared,
                                   std::shared_ptr<memory::SharedMemory>* keep) {
  if (tensor.data_case() != nrt::infer_io::kBufShm) {
    return Fail(Nerr::kInvalid, "shm_ofmap [{}] names no shared memory", port.name);
  }
  auto mapping = shared.Lookup(tensor.buf_shm().path());
  if (!mapping) return tl::unexpected<Error>(BadSharedMemory(std::move(mapping.error()), port));
  auto bytes = (*mapping)->Range(0, port.bytes);
  if (!bytes) return tl::unexpected<Error>(BadSharedMemory(std::move(bytes.error()), port));
  *keep = std::move(*mapping);
  return *bytes;
}

// Which port each of the request's tensors is for; every port that must be there is there once.
// `what` is "ifmap" or "ofmap".
Result<void> MatchPorts(const TensorList& tensors, const Ports& ports, std::string_view what,
                        std::vector<size_t>* matched) {
  const auto needed =
      std::count_if(ports.begin(), ports.end(), [](const TensorPort& p) { return p.used; });
  if (tensors.size() < needed || tensors.size() > static_cast<int>(ports.size())) {
    return Fail(Nerr::kInvalid, "Wrong number of {}s, expected: {}, received: {}", what,
                ports.size(), tensors.size());
  }
  matched->clear();
  for (int i = 0; i < tensors.size(); ++i) {
    const auto port = FindPort(ports, tensors[i].name(), static_cast<size_t>(i));
    if (!port) return Fail(Nerr::kInvalid, "Unknown {} name [{}]", what, tensors[i].name());
    if (std::find(matched->begin(), matched->end(), *port) != matched->end()) {
      return Fail(Nerr::kInvalid, "The {} [{}] was given twice", what, tensors[i].name());
    }
    matched->push_back(*port);
  }
  for (size_t p = 0; p < ports.size(); ++p) {
    if (ports[p].used && std::find(matched->begin(), matched->end(), p) == matched->end()) {
      return Fail(Nerr::kInvalid, "Missing {} [{}]", what, ports[p].name);
    }
  }
  return {};
}

// Reused by every call of a thread, so that matching allocates nothing once warm.
std::vector<size_t>& MatchScratch() {
  static thread_local std::vector<size_t> scratch;
  return scratch;
}

}  // namespace

Result<void> WriteInputs(const TensorList& inputs, const Mappings& shared,
                         runtime::Inference& inference) {
  const Ports& ports = inference.network().inputs();
  std::vector<size_t>& matched = MatchScratch();
  NRTD_TRY(MatchPorts(inputs, ports, "ifmap", &matched));
  for (int i = 0; i < inputs.size(); ++i) {
    const nrt::infer_io& tensor = inputs[i];
    const TensorPort& port = ports[matched[static_cast<size_t>(i)]];
    if (!port.used || tensor.data_case() == nrt::infer_io::kBufShm) continue;
    if (tensor.buf().size() != port.bytes) return WrongLength(port, tensor.buf().size());
  }
  for (int i = 0; i < inputs.size(); ++i) {
    const nrt::infer_io& tensor = inputs[i];
    const size_t p = matched[static_cast<size_t>(i)];
    if (!ports[p].used) continue;
    if (tensor.data_case() == nrt::infer_io::kBufShm) {
      NRTD_ASSIGN(const SharedTensor source, FindInput(tensor, ports[p], shared));
      if (!memory::GuardedCopy(inference.input(p).data(), source.bytes.data(), ports[p].bytes))
        return Truncated(ports[p]);
    } else {
      std::memcpy(inference.input(p).data(), tensor.buf().data(), ports[p].bytes);
    }
  }
  return {};
}

Result<void> CheckOutputs(const TensorList& shm_outputs, const Mappings& shared,
                          const runtime::Network& network) {
  if (shm_outputs.empty()) return {};
  std::vector<size_t>& matched = MatchScratch();
  NRTD_TRY(MatchPorts(shm_outputs, network.outputs(), "ofmap", &matched));
  for (int i = 0; i < shm_outputs.size(); ++i) {
    std::shared_ptr<memory::SharedMemory> keep;
    NRTD_TRY(FindOutput(shm_outputs[i], network.outputs()[matched[static_cast<size_t>(i)]], shared,
                        &keep));
  }
  return {};
}

Result<void> ReadOutputs(const TensorList& shm_outputs, const Mappings& shared,
                         const runtime::Inference& inference, nrt::infer_response* response) {
  const Ports& ports = inference.network().outputs();
  if (shm_outputs.empty()) {
    for (size_t p = 0; p < ports.size(); ++p) {
      nrt::infer_io* tensor = response->add_ofmap();
      tensor->set_name(ports[p].name);
      const ByteSpan bytes = inference.output(p);
      tensor->set_buf(bytes.data(), bytes.size());
    }
    return {};
  }
  std::vector<size_t>& matched = MatchScratch();
  NRTD_TRY(MatchPorts(shm_outputs, ports, "ofmap", &matched));
  for (int i = 0; i < shm_outputs.size(); ++i) {
    const size_t p = matched[static_cast<size_t>(i)];
    std::shared_ptr<memory::SharedMemory> keep;
    NRTD_ASSIGN(const MutableByteSpan target, FindOutput(shm_outputs[i], ports[p], shared, &keep));
    if (!memory::GuardedCopy(target.data(), inference.output(p).data(), ports[p].bytes))
      return Truncated(ports[p]);
  }
  return {};
}

}  // namespace nrtd::service
