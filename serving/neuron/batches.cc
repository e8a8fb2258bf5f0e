// SPDX-License-Identifier: Apache-2.0
#include "serving/neuron/batches.h"

#include <algorithm>
#include <cstdint>
#include <optional>

#include <fmt/ranges.h>

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

Result<void> CheckTensor(const op::NeuronTensor& wanted, const Tensor& given) {
  Shape shape = given.shape();
  if (wanted.batch_axis >= 0 && shape.size() == wanted.shape.size())
    shape[AxisOf(wanted)] = wanted.shape[AxisOf(wanted)];
  if (given.dtype() == wanted.dtype && shape == wanted.shape) return {};
  return Fail(Nerr::kInvalid, "input '{}' is {}, and the network takes {} {}", wanted.name,
              given.Text(), DTypeName(wanted.dtype), ShapeTextOf(wanted));
}

// Nothing when no input has a batch axis.
Result<std::optional<int64_t>> RowsOf(const op::Neuron& op, const std::vector<Tensor>& inputs) {
  std::optional<int64_t> rows;
  for (size_t i = 0; i < inputs.size(); ++i) {
    NRTD_TRY(CheckTensor(op.inputs[i], inputs[i]));
    if (op.inputs[i].batch_axis < 0) continue;
    const int64_t these = inputs[i].shape()[AxisOf(op.inputs[i])];
    if (these != rows.value_or(these)) {
      return Fail(Nerr::kInvalid, "input '{}' has a batch of {}, others of {}", op.inputs[i].name,
                  these, *rows);
    }
    rows = these;
  }
  return rows;
}

Tensor Zeros(const op::NeuronTensor& like, int64_t batch) {
  Shape shape = like.shape;
  shape[AxisOf(like)] = batch;
  std::string bytes(*ElementCount(shape) * DTypeSize(like.dtype), '\0');
  return Tensor(like.dtype, std::move(shape), std::move(bytes));
}

// The `batch` rows of an input that start at `begin`, padded with zeros.
Result<Tensor> PieceOf(const op::NeuronTensor& wanted, const Tensor& given, int64_t begin,
                       int64_t batch) {
  if (wanted.batch_axis < 0) return given;
  const size_t axis = AxisOf(wanted);
  const int64_t end = std::min(begin + batch, given.shape()[axis]);
  const Tensor rows = SliceOf(given, axis, begin, end);
  if (end - begin == batch) return rows;
  const Tensor parts[] = {rows, Zeros(wanted, batch - (end - begin))};
  return Concatenate(parts, axis);
}

}  // namespace

int64_t NextPiece(int64_t rows, const std::vector<int64_t>& compiled) {
  if (rows >= compiled.back()) return compiled.back();
  // Of the cheapest pieces for so many rows: the largest one, and what all cost.
  struct Best {
    int64_t largest = 0;
    int64_t cost = 0;
  };
  std::vector<Best> best(static_cast<size_t>(rows) + 1);
  for (int64_t left = 1; left <= rows; ++left) {
    Best& here = best[static_cast<size_t>(left)];
    here.cost = INT64_MAX;
    for (const int64_t size : compiled) {
      const Best& rest = best[static_cast<size_t>(std::max<int64_t>(left - size, 0))];
      if (rest.cost + size + 1 < here.cost)
        here = {std::max(rest.largest, size), rest.cost + size + 1};
    }
  }
  return best.back().largest;
}

std::optional<int64_t> FilledSize(const op::Neuron& op, const std::vector<int64_t>& compiled,
                                  const std::vector<Tensor>& inputs) {
  const auto rows = RowsOf(op, inputs);
  if (!rows) return std::nullopt;
  if (!*rows) return compiled.front();
  if (!std::binary_search(compiled.begin(), compiled.end(), **rows)) return std::nullopt;
  return **rows;
}

Result<std::vector<Tensor>> RunInBatches(const op::Neuron& op, const std::vector<int64_t>& compiled,
                                         std::vector<Tensor> inputs, const RunCompiled& run) {
  NRTD_ASSIGN(const std::optional<int64_t> rows, RowsOf(op, inputs));
  if (!rows) return run(compiled.front(), std::move(inputs));
  if (std::find(compiled.begin(), compiled.end(), *rows) != compiled.end())
    return run(*rows, std::move(inputs));
  const auto fixed = std::find_if(op.outputs.begin(), op.outputs.end(),
                                  [](const auto& output) { return output.batch_axis < 0; });
  if (fixed != op.outputs.end() || *rows == 0) {
    return Fail(Nerr::kInvalid, "a batch of {}, and the network was compiled for {}{}", *rows,
                fmt::join(compiled, ", "),
                fixed == op.outputs.end()
                    ? ""
                    : fmt::format("; output '{}' has no batch axis", Printable(fixed->name)));
  }
  std::vector<std::vector<Tensor>> pieces(op.outputs.size());  // by output
  for (int64_t begin = 0, batch = 0; begin < *rows; begin += batch) {
    batch = NextPiece(*rows - begin, compiled);
    std::vector<Tensor> piece;
    for (size_t i = 0; i < inputs.size(); ++i) {
      NRTD_ASSIGN(Tensor part, PieceOf(op.inputs[i], inputs[i], begin, batch));
      piece.push_back(std::move(part));
    }
    NRTD_ASSIGN(std::vector<Tensor> outputs, run(batch, std::move(piece)));
    for (size_t i = 0; i < outputs.size(); ++i) pieces[i].push_back(std::move(outputs[i]));
  }
  std::vector<Tensor> whole;
  for (size_t i = 0; i < op.outputs.size(); ++i) {
    const size_t axis = AxisOf(op.outputs[i]);
    NRTD_ASSIGN(const Tensor all, Concatenate(pieces[i], axis));
    whole.push_back(all.shape()[axis] == *rows ? all : SliceOf(all, axis, 0, *rows));
  }
  return whole;
}

}  // namespace nrtd::serving
