// SPDX-License-Identifier: Apache-2.0
#include "serving/batching/merge.h"

#include <algorithm>
#include <cstring>

#include "serving/graph/operations.h"

namespace nrtd::serving {
namespace {

constexpr size_t kMaxPaddedRank = 6;

// The same rows with larger inner dimensions; what is new has the tensor's first element.
Tensor Padded(const Tensor& tensor, const Shape& shape) {
  const uint64_t element = DTypeSize(tensor.dtype());
  const uint64_t count = *ElementCount(shape);
  std::string bytes;
  bytes.reserve(count * element);
  for (uint64_t i = 0; i < count; ++i) bytes.append(tensor.bytes(), 0, element);
  const Shape& from = tensor.shape();
  const size_t rank = from.size();
  const auto run = static_cast<uint64_t>(from[rank - 1]) * element;
  std::vector<int64_t> index(rank, 0);
  for (uint64_t source = 0; source < tensor.bytes().size(); source += run) {
    int64_t target = 0;
    for (size_t d = 0; d < rank; ++d) target = target * shape[d] + index[d];
    std::memcpy(bytes.data() + static_cast<uint64_t>(target) * element,
                tensor.bytes().data() + source, run);
    for (size_t d = rank - 1; d-- > 0;) {
      if (++index[d] < from[d]) break;
      index[d] = 0;
    }
  }
  return Tensor(tensor.dtype(), shape, std::move(bytes));
}

// What the inner dimensions of all requests' tensor have in common.
Result<Shape> CommonShape(const std::vector<const Tensors*>& requests, const std::string& name,
                          bool pad) {
  Shape common = requests[0]->at(name).shape();
  for (const Tensors* request : requests) {
    const Shape& shape = request->at(name).shape();
    if (std::equal(shape.begin() + 1, shape.end(), common.begin() + 1, common.end())) continue;
    if (!pad || shape.size() != common.size()) {
      return Fail(Nerr::kFailedState,
                  "Tensors with name '{}' from different tasks have different shapes and padding "
                  "is turned off.Set pad_variable_length_inputs to true, or ensure that all "
                  "tensors with the same namehave equal dimensions starting with the first dim.",
                  name);
    }
    if (shape.size() > kMaxPaddedRank)
      return Fail(Nerr::kInvalid, "Only tensors with rank from 1 to 6 can be padded.");
    for (size_t d = 1; d < shape.size(); ++d) common[d] = std::max(common[d], shape[d]);
  }
  common[0] = 1;
  const auto count = ElementCount(common);
  if (!count || *count > kMaxTensorBytes / sizeof(uint64_t))
    return Fail(Nerr::kInvalid, "'{}' padded to {} is too large", name, ShapeText(common));
  return common;
}

}  // namespace

Result<int64_t> RowsOf(const Tensors& inputs) {
  if (inputs.empty())
    return Fail(Nerr::kInvalid, "Batching Run() must have at least one input tensor");
  int64_t rows = -1;
  for (const auto& [name, tensor] : inputs) {
    if (tensor.shape().empty()) {
      return Fail(Nerr::kInvalid, "Batching Run() input tensors must have at least one dimension");
    }
    if (rows != -1 && tensor.shape()[0] != rows) {
      return Fail(Nerr::kInvalid,
                  "Batching Run() input tensors must have equal 0th-dimension size");
    }
    rows = tensor.shape()[0];
  }
  if (rows == 0) return Fail(Nerr::kInvalid, "a request without rows");
  return rows;
}

Result<Tensors> Merge(const std::vector<const Tensors*>& requests, int64_t rows, bool pad) {
  Tensors merged;
  for (const auto& [name, first] : *requests[0]) {
    NRTD_ASSIGN(Shape shape, CommonShape(requests, name, pad));
    std::vector<Tensor> parts;
    int64_t there = 0;
    for (const Tensors* request : requests) {
      const Tensor& tensor = request->at(name);
      shape[0] = tensor.shape()[0];
      if (tensor.shape() != shape && tensor.bytes().empty())
        return Fail(Nerr::kInvalid, "Got empty tensor in batch of non-empty tensors.");
      parts.push_back(tensor.shape() == shape ? tensor : Padded(tensor, shape));
      there += shape[0];
    }
    const Tensor filler = SliceOf(parts.back(), 0, 0, 1);
    parts.insert(parts.end(), static_cast<size_t>(rows - there), filler);
    NRTD_ASSIGN(Tensor all, Concatenate(parts, 0));
    merged.insert_or_assign(name, std::move(all));
  }
  return merged;
}

Result<Tensors> RowsAt(const Tensors& outputs, int64_t rows, int64_t first, int64_t count) {
  Tensors part;
  for (const auto& [name, tensor] : outputs) {
    const Shape& shape = tensor.shape();
    if (shape.empty()) return Fail(Nerr::kFailedState, "Batched output tensor has 0 dimensions");
    if (shape[0] != rows) {
      return Fail(Nerr::kFailedState,
                  "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                  "dimension sizes of the input tensors");
    }
    part.insert_or_assign(name, SliceOf(tensor, 0, first, first + count));
  }
  return part;
}

}  // namespace nrtd::serving
