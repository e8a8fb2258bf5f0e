// SPDX-License-Identifier: Apache-2.0
//
// Operators that put elements elsewhere.
#include <algorithm>
#include <numeric>

#include "compiler/operators/operator.h"

namespace nrtd::compiler {
namespace {

using Part = Rearrange::Part;

// Of repeats, pads and blocks: a product with a dimension still fits.
constexpr int64_t kMostAlong = sim::kMaxElements;

// The whole input, behind `to` elements of an output of shape `full`.
Part PartAt(size_t input, const Shape& shape, const Shape& full, int64_t to) {
  return {input, shape, 0, DenseStrides(shape), to, DenseStrides(full)};
}

Result<void> AppendOne(const OnnxNode& node, GraphBuilder& builder, ValueId x, Shape shape,
                       Part part) {
  NRTD_ASSIGN(const ValueId output, builder.Output(node, builder.at(x).dtype, std::move(shape)));
  builder.Append(node, Rearrange{{std::move(part)}}, {x}, output);
  return {};
}

// One axis of a slice: every `step`th from `start`, `count` of them.
struct Steps {
  int64_t start = 0;
  int64_t step = 1;
  int64_t count = 0;
};

Steps StepsOf(int64_t dimension, int64_t start, int64_t end, int64_t step) {
  const bool forward = step > 0;
  const auto bound = [&](int64_t at) {
    if (at < 0) at = at < -dimension ? -1 - dimension : at;
    if (at < 0) at += dimension;
    return std::clamp<int64_t>(at, forward ? 0 : -1, forward ? dimension : dimension - 1);
  };
  Steps steps{bound(start), std::max(step, -INT64_MAX), 0};
  const int64_t last = bound(end);
  if (forward && last > steps.start) steps.count = (last - steps.start - 1) / step + 1;
  if (!forward && last < steps.start) steps.count = (steps.start - last - 1) / -steps.step + 1;
  // One element steps nowhere, however far that would be.
  if (steps.count <= 1) steps.step = 1;
  return steps;
}

}  // namespace

Result<void> BuildTranspose(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.Input(node, 0));
  const Shape from = builder.at(x).shape;
  std::vector<int64_t> reversed(from.size());
  std::iota(reversed.rbegin(), reversed.rend(), 0);
  const auto order = node.Attribute<std::vector<int64_t>>("perm", reversed);
  std::vector<int64_t> sorted = order;
  std::sort(sorted.begin(), sorted.end());
  if (!std::equal(sorted.begin(), sorted.end(), reversed.rbegin(), reversed.rend())) {
    return Fail(Nerr::kInvalid, "{}: perm {} is no order of {} dimensions", Describe(node),
                ShapeText(order), from.size());
  }
  const Shape strides = DenseStrides(from);
  Part part;
  for (int64_t d : order) {
    part.dims.push_back(from[static_cast<size_t>(d)]);
    part.from_strides.push_back(strides[static_cast<size_t>(d)]);
  }
  part.to_strides = DenseStrides(part.dims);
  Shape to = part.dims;
  return AppendOne(node, builder, x, std::move(to), std::move(part));
}

Result<void> BuildSlice(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.Input(node, 0));
  const Shape from = builder.at(x).shape;
  NRTD_ASSIGN(const auto starts, ListOf(node, "starts", 1, builder));
  NRTD_ASSIGN(const auto ends, ListOf(node, "ends", 2, builder));
  NRTD_ASSIGN(auto axes, ListOf(node, "axes", 3, builder));
  NRTD_ASSIGN(auto steps, ListOf(node, "steps", 4, builder));
  if (axes.empty()) {
    axes.resize(starts.size());
    std::iota(axes.begin(), axes.end(), 0);
  }
  if (steps.empty()) steps.resize(starts.size(), 1);
  if (ends.size() != starts.size() || axes.size() != starts.size() ||
      steps.size() != starts.size()) {
    return Fail(Nerr::kInvalid, "{}: {} starts, {} ends, {} axes and {} steps do not fit",
                Describe(node), starts.size(), ends.size(), axes.size(), steps.size());
  }
  Part part{0, from, 0, DenseStrides(from), 0, {}};
  for (size_t i = 0; i < starts.size(); ++i) {
    NRTD_ASSIGN(const size_t axis, AxisOf(node, axes[i], from.size()));
    if (steps[i] == 0) return Fail(Nerr::kInvalid, "{}: a step of 0", Describe(node));
    const Steps along = StepsOf(from[axis], starts[i], ends[i], steps[i]);
    part.dims[axis] = along.count;
    part.from += along.start * part.from_strides[axis];
    part.from_strides[axis] *= along.step;
  }
  part.to_strides = DenseStrides(part.dims);
  NRTD_ASSIGN(const ValueId output, builder.Output(node, builder.at(x).dtype, Shape(part.dims)));
  // Instructions only step forwards: a part for every element of an axis that is walked backwards.
  std::vector<Part> parts{std::move(part)};
  for (size_t axis = 0; axis < from.size(); ++axis) {
    if (parts[0].from_strides[axis] >= 0) continue;
    std::vector<Part> single;
    for (const Part& whole : parts) {
      for (int64_t i = 0; i < whole.dims[axis]; ++i) {
        Part one = whole;
        one.from += i * whole.from_strides[axis];
        one.to += i * whole.to_strides[axis];
        one.dims[axis] = 1;
        one.from_strides[axis] = 1;
        single.push_back(std::move(one));
      }
    }
    parts = std::move(single);
  }
  constexpr size_t kMostParts = 4096;
  if (parts.size() > kMostParts) {
    return Fail(Nerr::kInvalid, "{}: walking {} elements backwards is not supported, {} are",
                Describe(node), parts.size(), kMostParts);
  }
  builder.Append(node, Rearrange{std::move(parts)}, {x}, output);
  return {};
}

Result<void> BuildConcat(const OnnxNode& node, GraphBuilder& builder) {
  std::vector<ValueId> inputs;
  std::vector<Shape> shapes;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    NRTD_ASSIGN(const ValueId id, builder.Input(node, i));
    inputs.push_back(id);
    shapes.push_back(builder.at(id).shape);
  }
  if (inputs.empty()) return Fail(Nerr::kInvalid, "{} has no inputs", Describe(node));
  NRTD_ASSIGN(const size_t axis,
              AxisOf(node, node.Attribute<int64_t>("axis", 0), shapes[0].size()));
  Shape full = shapes[0];
  full[axis] = 0;
  for (const Shape& shape : shapes) {
    Shape others = shape;
    if (others.size() == full.size()) others[axis] = full[axis];
    if (others != full) {
      return Fail(Nerr::kInvalid, "{}: shape {} does not fit {} but for dimension {}",
                  Describe(node), ShapeText(shape), ShapeText(shapes[0]), axis);
    }
    full[axis] += shape[axis];
  }
  NRTD_ASSIGN(const ValueId output, builder.Output(node, builder.at(inputs[0]).dtype, Shape(full)));
  Rearrange rearrange;
  int64_t at = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    rearrange.parts.push_back(PartAt(i, shapes[i], full, at * DenseStrides(full)[axis]));
    at += shapes[i][axis];
  }
  builder.Append(node, std::move(rearrange), std::move(inputs), output);
  return {};
}

Result<void> BuildSplit(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.Input(node, 0));
  const Shape from = builder.at(x).shape;
  NRTD_ASSIGN(const size_t axis, AxisOf(node, node.Attribute<int64_t>("axis", 0), from.size()));
  NRTD_ASSIGN(auto sizes, ListOf(node, "split", 1, builder));
  const auto count = static_cast<int64_t>(node.outputs.size());
  if (sizes.empty()) sizes.assign(node.outputs.size(), (from[axis] + count - 1) / count);
  if (sizes.size() == node.outputs.size() && !sizes.empty() && !node.HasInput(1) &&
      !node.attributes.contains("split"))
    sizes.back() = from[axis] - sizes[0] * (count - 1);
  const auto is_part = [&](int64_t size) { return size >= 1 && size <= from[axis]; };
  if (sizes.size() != node.outputs.size() || !std::all_of(sizes.begin(), sizes.end(), is_part) ||
      std::accumulate(sizes.begin(), sizes.end(), int64_t{0}) != from[axis]) {
    return Fail(Nerr::kInvalid, "{}: parts of {} do not make {} outputs of dimension {} of {}",
                Describe(node), ShapeText(sizes), node.outputs.size(), axis, ShapeText(from));
  }
  const Shape strides = DenseStrides(from);
  int64_t at = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    Shape to = from;
    to[axis] = sizes[i];
    if (node.HasOutput(i)) {
      NRTD_ASSIGN(const ValueId output, builder.Output(node, builder.at(x).dtype, Shape(to), i));
      builder.Append(node, Rearrange{{{0, to, at * strides[axis], strides, 0, DenseStrides(to)}}},
                     {x}, output);
    }
    at += sizes[i];
  }
  return {};
}

Result<void> BuildExpand(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.Input(node, 0));
  const Shape from = builder.at(x).shape;
  NRTD_ASSIGN(const Shape wanted, builder.Integers(node, 1));
  const auto full = BroadcastShape(from, wanted);
  if (!full) {
    return Fail(Nerr::kInvalid, "{}: shape {} cannot be expanded to {}", Describe(node),
                ShapeText(from), ShapeText(wanted));
  }
  NRTD_TRY(CheckSize(node, node.outputs.at(0), *full));
  const size_t missing = full->size() - from.size();
  Shape strides = DenseStrides(from);
  for (size_t d = 0; d < from.size(); ++d) {
    if (from[d] == 1) strides[d] = 0;
  }
  strides.insert(strides.begin(), missing, 0);
  return AppendOne(node, builder, x, *full,
                   {0, *full, 0, std::move(strides), 0, DenseStrides(*full)});
}

Result<void> BuildTile(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.Input(node, 0));
  const Shape from = builder.at(x).shape;
  NRTD_ASSIGN(const auto repeats, builder.Integers(node, 1));
  if (repeats.size() != from.size() || std::any_of(repeats.begin(), repeats.end(), [](int64_t r) {
        return r < 1 || r > kMostAlong;
      })) {
    return Fail(Nerr::kInvalid, "{}: repeats {} do not fit shape {}", Describe(node),
                ShapeText(repeats), ShapeText(from));
  }
  Shape to;
  Part part;
  const Shape strides = DenseStrides(from);
  for (size_t d = 0; d < from.size(); ++d) {
    to.push_back(from[d] * repeats[d]);
    part.dims.insert(part.dims.end(), {repeats[d], from[d]});
    part.from_strides.insert(part.from_strides.end(), {0, strides[d]});
  }
  NRTD_TRY(CheckSize(node, node.outputs.at(0), to));
  part.to_strides = DenseStrides(part.dims);
  return AppendOne(node, builder, x, std::move(to), std::move(part));
}

// Constant padding, and cutting where a pad is negative.
Result<void> BuildPad(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.Input(node, 0));
  const Shape from = builder.at(x).shape;
  const DType dtype = builder.at(x).dtype;
  NRTD_ASSIGN(const auto pads, ListOf(node, "pads", 1, builder));
  const std::string mode = node.Attribute<std::string>("mode", "constant");
  if (mode != "constant")
    return Fail(Nerr::kInvalid, "{}: mode '{}' is not supported, 'constant' is", Describe(node),
                mode);
  if (pads.size() != 2 * from.size()) {
    return Fail(Nerr::kInvalid, "{}: {} pads do not fit shape {}", Describe(node), pads.size(),
                ShapeText(from));
  }
  Shape full;
  Part inner{0, {}, 0, DenseStrides(from), 0, {}};
  for (size_t d = 0; d < from.size(); ++d) {
    const int64_t before = pads[d];
    const int64_t after = pads[from.size() + d];
    if (std::min(before, after) < -from[d] || std::max(before, after) > kMostAlong)
      return Fail(Nerr::kInvalid, "{}: pads {} and {} do not fit dimension {} of {}",
                  Describe(node), before, after, d, ShapeText(from));
    full.push_back(from[d] + before + after);
    inner.dims.push_back(from[d] + std::min<int64_t>(before, 0) + std::min<int64_t>(after, 0));
    inner.from += std::max<int64_t>(-before, 0) * inner.from_strides[d];
  }
  NRTD_TRY(CheckSize(node, node.outputs.at(0), full));
  inner.to_strides = DenseStrides(full);
  for (size_t d = 0; d < from.size(); ++d)
    inner.to += std::max<int64_t>(pads[d], 0) * inner.to_strides[d];
  NRTD_ASSIGN(const ValueId output, builder.Output(node, dtype, Shape(full)));
  ValueId fill = 0;
  if (node.HasInput(2)) {
    NRTD_ASSIGN(fill, builder.Input(node, 2));
    if (builder.at(fill).Elements() != 1 || builder.at(fill).dtype != dtype)
      return Fail(Nerr::kInvalid, "{}: it pads by '{}', which is not one {}", Describe(node),
                  builder.at(fill).name, DTypeName(dtype));
  } else {
    ByteVector zero(DTypeSize(dtype), std::byte{0});
    if (dtype == DType::kFloat32)
      StoreAt(MutableByteSpan(zero), 0, node.Attribute<float>("value", 0));
    fill = builder.Constant(node, "fill", dtype, {}, std::move(zero));
  }
  Part all{1, full, 0, Shape(full.size(), 0), 0, DenseStrides(full)};
  Rearrange rearrange{{std::move(all)}};
  const bool is_there = std::all_of(inner.dims.begin(), inner.dims.end(),
                                    [](int64_t dimension) { return dimension > 0; });
  if (is_there) rearrange.parts.push_back(std::move(inner));
  builder.Append(node, std::move(rearrange), {x, fill}, output);
  return {};
}

Result<void> BuildSpaceDepth(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.Input(node, 0));
  const Shape from = builder.at(x).shape;
  const int64_t block = node.Attribute<int64_t>("blocksize", 0);
  const bool to_space = node.op_type == "DepthToSpace";
  if (from.size() != 4 || block < 1 || block > kMostAlong ||
      (to_space ? from[1] % (block * block) != 0 : from[2] % block != 0 || from[3] % block != 0)) {
    return Fail(Nerr::kInvalid, "{}: blocks of {} do not fit shape {}", Describe(node), block,
                ShapeText(from));
  }
  const bool columns_first = node.Attribute<std::string>("mode", "DCR") == "CRD";
  // The input seen in six dimensions, and their order in the output.
  Shape six;
  std::vector<size_t> order;
  Shape to;
  if (to_space) {
    const int64_t depth = from[1] / (block * block);
    six = columns_first ? Shape{from[0], depth, block, block, from[2], from[3]}
                        : Shape{from[0], block, block, depth, from[2], from[3]};
    order = columns_first ? std::vector<size_t>{0, 1, 4, 2, 5, 3}
                          : std::vector<size_t>{0, 3, 4, 1, 5, 2};
    to = {from[0], depth, from[2] * block, from[3] * block};
  } else {
    six = {from[0], from[1], from[2] / block, block, from[3] / block, block};
    order = {0, 3, 5, 1, 2, 4};
    to = {from[0], from[1] * block * block, from[2] / block, from[3] / block};
  }
  const Shape strides = DenseStrides(six);
  Part part;
  for (size_t d : order) {
    part.dims.push_back(six[d]);
    part.from_strides.push_back(strides[d]);
  }
  part.to_strides = DenseStrides(part.dims);
  return AppendOne(node, builder, x, std::move(to), std::move(part));
}

Result<void> BuildGather(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId table, builder.Input(node, 0));
  NRTD_ASSIGN(const ValueId indices, builder.Input(node, 1));
  const Shape from = builder.at(table).shape;
  const Shape& at = builder.at(indices).shape;
  NRTD_ASSIGN(const size_t axis, AxisOf(node, node.Attribute<int64_t>("axis", 0), from.size()));
  const auto middle = static_cast<std::ptrdiff_t>(axis);
  Shape to(from.begin(), from.begin() + middle);
  to.insert(to.end(), at.begin(), at.end());
  to.insert(to.end(), from.begin() + middle + 1, from.end());
  NRTD_ASSIGN(const ValueId output, builder.Output(node, builder.at(table).dtype, std::move(to)));
  builder.Append(node, Gather{axis}, {table, indices}, output);
  return {};
}

}  // namespace nrtd::compiler
