// SPDX-License-Identifier: Apache-2.0
#include "serving/neuron/batches.h"

#include <algorithm>
#include <optional>

#include "serving/graph/operations.h"

namespace nrtd::serving {
namespace {

size_t AxisOf(const op::NeuronTensor& tensor) {
  return static_cast<size_t>(tensor.batch_axis);
}

// As in "[?,128]" for a batch at axis 0.
std::string ShapeTextOf(const op::NeuronTensor& tensor) {
  Shape shape = tensor.shape;
  if (tensor.batch_axis >= 0) shape[AxisOf(tensor)] = -1;
  return ShapeText(shape);
}

struct BatchSizes {
  int64_t compiled = 0;
  int64_t given = 0;
};

Result<void> CheckTensor(const op::NeuronTensor& wanted, const Tensor& given) {
  Shape shape = given.shape();
  if (wanted.batch_axis >= 0 && shape.size() == wanted.shape.size())
    shape[AxisOf(wanted)] = wanted.shape[AxisOf(wanted)];
  if (given.dtype() == wanted.dtype && shape == wanted.shape) return {};
  return Fail(Nerr::kInvalid, "input '{}' is {}, and the network takes {} {}", wanted.name,
              given.Text(), DTypeName(wanted.dtype), ShapeTextOf(wanted));
}

// Nothing when no input has a batch axis.
Result<std::optional<BatchSizes>> SizesOf(const op::Neuron& op, const std::vector<Tensor>& inputs) {
  std::optional<BatchSizes> sizes;
  for (size_t i = 0; i < inputs.size(); ++i) {
    NRTD_TRY(CheckTensor(op.inputs[i], inputs[i]));
    if (op.inputs[i].batch_axis < 0) continue;
    const size_t axis = AxisOf(op.inputs[i]);
    const BatchSizes these{op.inputs[i].shape[axis], inputs[i].shape()[axis]};
    if (!sizes) sizes = these;
    if (these.given != sizes->given || these.compiled != sizes->compiled) {
      return Fail(Nerr::kInvalid, "input '{}' has a batch of {} (compiled: {}), others of {} ({})",
                  op.inputs[i].name, these.given, these.compiled, sizes->given, sizes->compiled);
    }
  }
  return sizes;
}

Tensor Zeros(const op::NeuronTensor& like, int64_t batch) {
  Shape shape = like.shape;
  shape[AxisOf(like)] = batch;
  std::string bytes(*ElementCount(shape) * DTypeSize(like.dtype), '\0');
  return Tensor(like.dtype, std::move(shape), std::move(bytes));
}

// Rows [begin, end) of an input, filled up to the compiled size.
Result<Tensor> PieceOf(const op::NeuronTensor& wanted, const Tensor& given, int64_t begin,
                       const BatchSizes& sizes) {
  if (wanted.batch_axis < 0) return given;
  const int64_t end = std::min(begin + sizes.compiled, sizes.given);
  const Tensor rows = SliceOf(given, AxisOf(wanted), begin, end);
  if (end - begin == sizes.compiled) return rows;
  const Tensor parts[] = {rows, Zeros(wanted, sizes.compiled - (end - begin))};
  return Concatenate(parts, AxisOf(wanted));
}

}  // namespace

Result<std::vector<Tensor>> RunInBatches(const op::Neuron& op, std::vector<Tensor> inputs,
                                         const RunCompiled& run) {
  NRTD_ASSIGN(const std::optional<BatchSizes> sizes, SizesOf(op, inputs));
  if (!sizes || sizes->given == sizes->compiled) return run(std::move(inputs));
  const auto fixed = std::find_if(op.outputs.begin(), op.outputs.end(),
                                  [](const auto& output) { return output.batch_axis < 0; });
  if (fixed != op.outputs.end() || sizes->given == 0) {
    return Fail(Nerr::kInvalid, "a batch of {}, and the network was compiled for {}{}",
                sizes->given, sizes->compiled,
                fixed == op.outputs.end()
                    ? ""
                    : fmt::format("; output '{}' has no batch axis", Printable(fixed->name)));
  }
  std::vector<std::vector<Tensor>> pieces(op.outputs.size());  // by output
  for (int64_t begin = 0; begin < sizes->given; begin += sizes->compiled) {
    std::vector<Tensor> piece;
    for (size_t i = 0; i < inputs.size(); ++i) {
      NRTD_ASSIGN(Tensor part, PieceOf(op.inputs[i], inputs[i], begin, *sizes));
      piece.push_back(std::move(part));
    }
    NRTD_ASSIGN(std::vector<Tensor> outputs, run(std::move(piece)));
    for (size_t i = 0; i < outputs.size(); ++i) pieces[i].push_back(std::move(outputs[i]));
  }
  std::vector<Tensor> whole;
  for (size_t i = 0; i < op.outputs.size(); ++i) {
    const size_t axis = AxisOf(op.outputs[i]);
    NRTD_ASSIGN(const Tensor all, Concatenate(pieces[i], axis));
    whole.push_back(all.shape()[axis] == sizes->given ? all : SliceOf(all, axis, 0, sizes->given));
  }
  return whole;
}

}  // namespace nrtd::serving
