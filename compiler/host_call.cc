// SPDX-License-Identifier: Apache-2.0
#include "compiler/host_call.h"

namespace nrtd::compiler {

Result<runtime::HostKernel> PrepareCall(const Graph& graph, const HostCall& call,
                                        const std::vector<ValueId>& inputs,
                                        const std::vector<ValueId>& outputs) {
  const auto type = [&](ValueId id) {
    const Value& value = graph.at(id);
    return runtime::HostTensorType{value.dtype, value.shape, value.Bytes()};
  };
  runtime::HostSignature signature;
  signature.attributes = call.attributes;
  for (ValueId id : inputs) signature.inputs.push_back(type(id));
  for (ValueId id : outputs) signature.outputs.push_back(type(id));
  auto kernel = runtime::PrepareHostFunction(call.function, signature);
  if (kernel) return kernel;
  return Fail(Nerr::kInvalid, "the host's {}: {}", call.function, AsIs(kernel.error().text));
}

}  // namespace nrtd::compiler
