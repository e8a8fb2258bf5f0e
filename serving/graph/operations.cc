// SPDX-License-Identifier: Apache-2.0
#include "serving/graph/operations.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <type_traits>

#include "base/sizes.h"

namespace nrtd::serving {
namespace {

struct BFloat16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};
// What is computed with.
inline float Value(BFloat16 value) {
  return BFloat16ToFloat(value.bits);
}
inline float Value(Half value) {
  return HalfToFloat(value.bits);
}
template <typename T>
T Value(T value) {
  return value;
}

// Calls visit(T{}) with the type of elements.
template <typename Visit>
auto VisitType(DType dtype, const Visit& visit) {
  switch (dtype) {
    case DType::kFloat32:
      return visit(float{});
    case DType::kFloat64:
      return visit(double{});
    case DType::kBFloat16:
      return visit(BFloat16{});
    case DType::kFloat16:
      return visit(Half{});
    case DType::kInt8:
      return visit(int8_t{});
    case DType::kUInt8:
    case DType::kBool:
      return visit(uint8_t{});
    case DType::kInt16:
      return visit(int16_t{});
    case DType::kUInt16:
      return visit(uint16_t{});
    case DType::kInt32:
      return visit(int32_t{});
    case DType::kUInt32:
      return visit(uint32_t{});
    case DType::kInt64:
      return visit(int64_t{});
    case DType::kUInt64:
      break;
  }
  return visit(uint64_t{});
}

template <typename T>
std::string BytesOf(const std::vector<T>& elements) {
  return {reinterpret_cast<const char*>(elements.data()), elements.size() * sizeof(T)};
}

// The bytes of a result; nothing when it would be too large.
std::optional<uint64_t> BytesFor(DType dtype, std::span<const int64_t> shape) {
  const auto count = ElementCount(shape);
  const auto bytes = count ? CheckedMultiply(*count, DTypeSize(dtype)) : std::nullopt;
  return bytes && *bytes <= kMaxTensorBytes ? bytes : std::nullopt;
}
tl::unexpected<Error> TooLarge(std::span<const int64_t> shape) {
  return Fail(Nerr::kInvalid, "a result of the shape {} is negative or too large",
              ShapeText(shape));
}

// The few numbers of a shape, an axis, a permutation.
Result<std::vector<int64_t>> Numbers(const Tensor& tensor, const char* what) {
  constexpr size_t kMost = 64;
  std::vector<int64_t> numbers;
  if (tensor.dtype() == DType::kInt32) {
    const auto elements = ElementsOf<int32_t>(tensor);
    numbers.assign(elements.begin(), elements.end());
  } else if (tensor.dtype() == DType::kInt64) {
    numbers = ElementsOf<int64_t>(tensor);
  } else {
    return Fail(Nerr::kInvalid, "the {} is {}, not int32 or int64", what, tensor.Text());
  }
  if (numbers.size() > kMost)
    return Fail(Nerr::kInvalid, "the {} has {} numbers", what, numbers.size());
  return numbers;
}
Result<int64_t> Number(const Tensor& tensor, const char* what) {
  NRTD_ASSIGN(const std::vector<int64_t> numbers, Numbers(tensor, what));
  if (numbers.size() != 1)
    return Fail(Nerr::kInvalid, "the {} has {} numbers, not one", what, numbers.size());
  return numbers[0];
}
// Counted from the end if it is negative; among `rank` dimensions.
Result<size_t> Axis(int64_t axis, size_t rank) {
  const auto count = static_cast<int64_t>(rank);
  if (axis < -count || axis >= count)
    return Fail(Nerr::kInvalid, "axis {} of a tensor of {} dimensions", axis, rank);
  return static_cast<size_t>(axis < 0 ? axis + count : axis);
}

// Elements of a tensor at regular places, in the order of `dims`.
struct View {
  int64_t offset = 0;
  Shape dims;
  std::vector<int64_t> strides;  // in elements
};

// Of a shape without elements they may be anything, and are not used.
std::vector<int64_t> StridesOf(std::span<const int64_t> shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t d = shape.size(); d-- > 1;) {
    strides[d - 1] =
        static_cast<int64_t>(static_cast<uint64_t>(strides[d]) * static_cast<uint64_t>(shape[d]));
  }
  return strides;
}

void CopyView(const View& view, size_t dim, int64_t from, const char* source, size_t element,
              char*& target) {
  if (dim == view.dims.size()) {
    std::memcpy(target, source + static_cast<size_t>(from) * element, element);
    target += element;
    return;
  }
  if (dim + 1 == view.dims.size() && view.strides[dim] == 1) {
    const size_t bytes = static_cast<size_t>(view.dims[dim]) * element;
    std::memcpy(target, source + static_cast<size_t>(from) * element, bytes);
    target += bytes;
    return;
  }
  for (int64_t i = 0; i < view.dims[dim]; ++i)
    CopyView(view, dim + 1, from + i * view.strides[dim], source, element, target);
}

// Its places exist, and it is no larger than the tensor.
Tensor Gather(const Tensor& tensor, const View& view) {
  const size_t element = DTypeSize(tensor.dtype());
  std::string bytes(ElementCount(view.dims).value_or(0) * element, '\0');
  char* target = bytes.data();
  if (!bytes.empty()) CopyView(view, 0, view.offset, tensor.bytes().data(), element, target);
  return Tensor(tensor.dtype(), view.dims, std::move(bytes));
}

template <typename To, typename From>
To Convert(From from) {
  const auto value = Value(from);
  if constexpr (std::is_same_v<To, BFloat16>) {
    return {FloatToBFloat16(static_cast<float>(value))};
  } else if constexpr (std::is_same_v<To, Half>) {
    return {FloatToHalf(static_cast<float>(value))};
  } else if constexpr (std::is_floating_point_v<decltype(value)> && std::is_integral_v<To>) {
    if (std::isnan(value)) return 0;
    // Compared as doubles: the largest int64 rounds up to what does not fit any more.
    const auto number = static_cast<double>(value);
    if (number <= static_cast<double>(std::numeric_limits<To>::min()))
      return std::numeric_limits<To>::min();
    if (number >= static_cast<double>(std::numeric_limits<To>::max()))
      return std::numeric_limits<To>::max();
    return static_cast<To>(value);
  } else {
    return static_cast<To>(value);
  }
}

Result<std::vector<Tensor>> One(Result<Tensor> tensor) {
  if (!tensor) return tl::unexpected<Error>(std::move(tensor.error()));
  return std::vector<Tensor>{std::move(*tensor)};
}

Result<Tensor> Reshape(const Tensor& data, const Tensor& wanted) {
  NRTD_ASSIGN(Shape shape, Numbers(wanted, "shape"));
  const auto count = *ElementCount(data.shape());
  const auto any = std::find(shape.begin(), shape.end(), -1);
  if (any != shape.end()) {
    *any = 1;
    const auto others = ElementCount(shape);
    const bool fits = others && *others != 0 && count % *others == 0;
    *any = fits ? static_cast<int64_t>(count / *others) : -1;
  }
  if (ElementCount(shape) != count) {
    return Fail(Nerr::kInvalid, "{} does not fit into the shape {}", data.Text(), ShapeText(shape));
  }
  return data.Reshaped(std::move(shape));
}

template <typename T>
void SoftmaxRow(const T* in, T* out, size_t count) {
  const T largest = *std::max_element(in, in + count);
  T sum = 0;
  for (size_t i = 0; i < count; ++i) sum += out[i] = std::exp(in[i] - largest);
  for (size_t i = 0; i < count; ++i) out[i] /= sum;
}

Result<Tensor> Softmax(const Tensor& data) {
  if (data.shape().empty()) return Fail(Nerr::kInvalid, "softmax of a scalar");
  if (data.dtype() == DType::kBFloat16 || data.dtype() == DType::kFloat16) {
    NRTD_ASSIGN(const Tensor wide, CastTo(data, DType::kFloat32));
    NRTD_ASSIGN(const Tensor result, Softmax(wide));
    return CastTo(result, data.dtype());
  }
  const auto row = static_cast<size_t>(data.shape().back());
  const auto run = [&](auto zero) -> Result<Tensor> {
    using T = decltype(zero);
    auto elements = ElementsOf<T>(data);
    for (size_t at = 0; row != 0 && at < elements.size(); at += row)
      SoftmaxRow(&elements[at], &elements[at], row);
    return Tensor(data.dtype(), data.shape(), BytesOf(elements));
  };
  if (data.dtype() == DType::kFloat32) return run(float{});
  if (data.dtype() == DType::kFloat64) return run(double{});
  return Fail(Nerr::kInvalid, "softmax of {}", data.Text());
}

Result<Tensor> ArgMax(const Tensor& data, const Tensor& dimension, DType output) {
  NRTD_ASSIGN(const int64_t number, Number(dimension, "dimension"));
  NRTD_ASSIGN(const size_t axis, Axis(number, data.shape().size()));
  const auto length = static_cast<size_t>(data.shape()[axis]);
  if (length == 0) return Fail(Nerr::kInvalid, "the largest of no elements");
  Shape shape = data.shape();
  shape.erase(shape.begin() + static_cast<ptrdiff_t>(axis));
  size_t inner = 1;
  for (size_t d = axis + 1; d < data.shape().size(); ++d)
    inner *= static_cast<size_t>(data.shape()[d]);
  std::vector<int64_t> best(*ElementCount(shape));
  VisitType(data.dtype(), [&](auto zero) {
    const auto elements = ElementsOf<decltype(zero)>(data);
    for (size_t i = 0; i < best.size(); ++i) {
      const size_t first = i / inner * length * inner + i % inner;
      for (size_t k = 1; k < length; ++k) {
        if (Value(elements[first + k * inner]) >
            Value(elements[first + static_cast<size_t>(best[i]) * inner]))
          best[i] = static_cast<int64_t>(k);
      }
    }
  });
  return CastTo(Tensor(DType::kInt64, std::move(shape), BytesOf(best)), output);
}

Result<Tensor> Squeeze(const Tensor& data, const std::vector<int64_t>& axes) {
  const size_t rank = data.shape().size();
  std::vector<bool> goes(rank, axes.empty());
  for (const int64_t number : axes) {
    NRTD_ASSIGN(const size_t axis, Axis(number, rank));
    if (data.shape()[axis] != 1)
      return Fail(Nerr::kInvalid, "dimension {} of {} is not 1", number, data.Text());
    goes[axis] = true;
  }
  Shape shape;
  for (size_t d = 0; d < rank; ++d)
    if (!goes[d] || data.shape()[d] != 1) shape.push_back(data.shape()[d]);
  return data.Reshaped(std::move(shape));
}

Result<Tensor> ExpandDims(const Tensor& data, const Tensor& axis) {
  NRTD_ASSIGN(const int64_t number, Number(axis, "axis"));
  NRTD_ASSIGN(const size_t at, Axis(number, data.shape().size() + 1));
  Shape shape = data.shape();
  shape.insert(shape.begin() + static_cast<ptrdiff_t>(at), 1);
  return data.Reshaped(std::move(shape));
}

Result<Tensor> Pack(std::span<const Tensor> inputs, int64_t number) {
  NRTD_ASSIGN(const size_t axis, Axis(number, inputs[0].shape().size() + 1));
  std::vector<Tensor> parts;
  for (const Tensor& input : inputs) {
    if (input.shape() != inputs[0].shape())
      return Fail(Nerr::kInvalid, "{} beside {}", input.Text(), inputs[0].Text());
    Shape shape = input.shape();
    shape.insert(shape.begin() + static_cast<ptrdiff_t>(axis), 1);
    parts.push_back(input.Reshaped(std::move(shape)));
  }
  return Concatenate(parts, axis);
}

Result<Tensor> Concat(std::span<const Tensor> inputs) {
  NRTD_ASSIGN(const int64_t number, Number(inputs.back(), "axis"));
  NRTD_ASSIGN(const size_t axis, Axis(number, inputs[0].shape().size()));
  return Concatenate(inputs.first(inputs.size() - 1), axis);
}

Result<Tensor> Transpose(const Tensor& data, const Tensor& permutation) {
  NRTD_ASSIGN(const std::vector<int64_t> order, Numbers(permutation, "permutation"));
  const std::vector<int64_t> strides = StridesOf(data.shape());
  View view;
  std::vector<bool> seen(data.shape().size(), false);
  for (const int64_t number : order) {
    NRTD_ASSIGN(const size_t axis, Axis(number, data.shape().size()));
    if (seen[axis]) return Fail(Nerr::kInvalid, "axis {} stands in a permutation twice", number);
    seen[axis] = true;
    view.dims.push_back(data.shape()[axis]);
    view.strides.push_back(strides[axis]);
  }
  if (order.size() != data.shape().size())
    return Fail(Nerr::kInvalid, "a permutation of {} axes for {}", order.size(), data.Text());
  return Gather(data, view);
}

// One entry of a slice, as the masks describe it.
struct SliceEntry {
  enum class Kind { kRange, kEllipsis, kNewAxis } kind = Kind::kRange;
  int64_t begin = 0;
  int64_t end = 0;
  int64_t stride = 1;
  bool from_begin = false;  // whatever `begin` says
  bool to_end = false;
  bool shrink = false;  // one element, whose dimension goes
};

// Takes one dimension of `size` elements into the view.
Result<void> TakeRange(const SliceEntry& entry, int64_t size, int64_t stride, View& view) {
  const auto from_end = [size](int64_t index) { return index < 0 ? index + size : index; };
  if (entry.shrink) {
    const int64_t at = from_end(entry.begin);
    if (at < 0 || at >= size)
      return Fail(Nerr::kInvalid, "slice index {} of a dimension of {}", entry.begin, size);
    view.offset += at * stride;
    return {};
  }
  const bool forwards = entry.stride > 0;
  const int64_t least = forwards ? 0 : -1;
  const int64_t most = forwards ? size : size - 1;
  const int64_t begin =
      entry.from_begin ? (forwards ? least : most) : std::clamp(from_end(entry.begin), least, most);
  const int64_t end =
      entry.to_end ? (forwards ? most : least) : std::clamp(from_end(entry.end), least, most);
  const int64_t distance = forwards ? end - begin : begin - end;
  const int64_t step = forwards ? entry.stride : -entry.stride;
  const int64_t count = distance <= 0 ? 0 : (distance - 1) / step + 1;
  if (count > 0) view.offset += begin * stride;
  view.dims.push_back(count);
  view.strides.push_back(count > 1 ? stride * entry.stride : stride);
  return {};
}

Result<Tensor> StridedSlice(const op::StridedSlice& slice, std::span<const Tensor> inputs) {
  const Tensor& data = inputs[0];
  NRTD_ASSIGN(const std::vector<int64_t> begin, Numbers(inputs[1], "begin of a slice"));
  NRTD_ASSIGN(const std::vector<int64_t> end, Numbers(inputs[2], "end of a slice"));
  NRTD_ASSIGN(const std::vector<int64_t> strides, Numbers(inputs[3], "strides of a slice"));
  if (begin.size() != end.size() || begin.size() != strides.size())
    return Fail(Nerr::kInvalid, "begin, end and strides of a slice differ in length");
  std::vector<SliceEntry> entries;
  size_t ranges = 0;
  size_t ellipses = 0;
  for (size_t i = 0; i < begin.size(); ++i) {
    const auto has = [i](int64_t mask) { return ((mask >> i) & 1) != 0; };
    SliceEntry entry{SliceEntry::Kind::kRange,
                     begin[i],
                     end[i],
                     strides[i],
                     has(slice.begin_mask),
                     has(slice.end_mask),
                     has(slice.shrink_axis_mask)};
    if (has(slice.ellipsis_mask)) {
      entry.kind = SliceEntry::Kind::kEllipsis;
      ++ellipses;
    } else if (has(slice.new_axis_mask)) {
      entry.kind = SliceEntry::Kind::kNewAxis;
    } else {
      if (entry.stride == 0 || entry.stride == std::numeric_limits<int64_t>::min())
        return Fail(Nerr::kInvalid, "stride {} of a slice", entry.stride);
      ++ranges;
    }
    entries.push_back(entry);
  }
  if (ranges > data.shape().size() || ellipses > 1) {
    return Fail(Nerr::kInvalid, "a slice with {} ranges and {} ellipses of {}", ranges, ellipses,
                data.Text());
  }
  if (ellipses == 0) entries.push_back({SliceEntry::Kind::kEllipsis});
  const std::vector<int64_t> places = StridesOf(data.shape());
  View view;
  size_t dim = 0;
  for (const SliceEntry& entry : entries) {
    switch (entry.kind) {
      case SliceEntry::Kind::kNewAxis:
        view.dims.push_back(1);
        view.strides.push_back(0);
        break;
      case SliceEntry::Kind::kEllipsis:
        for (size_t whole = data.shape().size() - ranges; whole > 0; --whole, ++dim) {
          view.dims.push_back(data.shape()[dim]);
          view.strides.push_back(places[dim]);
        }
        break;
      case SliceEntry::Kind::kRange:
        NRTD_TRY(TakeRange(entry, data.shape()[dim], places[dim], view));
        ++dim;
        break;
    }
  }
  return Gather(data, view);
}

Result<Tensor> ShapeAsTensor(const Tensor& data, DType output) {
  const Shape& shape = data.shape();
  const Tensor wide(DType::kInt64, {static_cast<int64_t>(shape.size())}, BytesOf(shape));
  return CastTo(wide, output);
}

struct Runner {
  std::span<const Tensor> inputs;

  Result<std::vector<Tensor>> operator()(const op::Identity&) const {
    return std::vector<Tensor>(inputs.begin(), inputs.end());
  }
  Result<std::vector<Tensor>> operator()(const op::Cast& cast) const {
    return One(CastTo(inputs[0], cast.to));
  }
  Result<std::vector<Tensor>> operator()(const op::Reshape&) const {
    return One(Reshape(inputs[0], inputs[1]));
  }
  Result<std::vector<Tensor>> operator()(const op::Softmax&) const {
    return One(Softmax(inputs[0]));
  }
  Result<std::vector<Tensor>> operator()(const op::ArgMax& arg_max) const {
    return One(ArgMax(inputs[0], inputs[1], arg_max.output));
  }
  Result<std::vector<Tensor>> operator()(const op::Squeeze& squeeze) const {
    return One(Squeeze(inputs[0], squeeze.axes));
  }
  Result<std::vector<Tensor>> operator()(const op::ExpandDims&) const {
    return One(ExpandDims(inputs[0], inputs[1]));
  }
  Result<std::vector<Tensor>> operator()(const op::Pack& pack) const {
    return One(Pack(inputs, pack.axis));
  }
  Result<std::vector<Tensor>> operator()(const op::StridedSlice& slice) const {
    return One(StridedSlice(slice, inputs));
  }
  Result<std::vector<Tensor>> operator()(const op::ShapeOf& shape) const {
    return One(ShapeAsTensor(inputs[0], shape.output));
  }
  Result<std::vector<Tensor>> operator()(const op::Concat&) const { return One(Concat(inputs)); }
  Result<std::vector<Tensor>> operator()(const op::Transpose&) const {
    return One(Transpose(inputs[0], inputs[1]));
  }
  template <typename Other>
  Result<std::vector<Tensor>> operator()(const Other&) const {
    return Fail(Nerr::kInvalid, "this is no host operation");
  }
};

}  // namespace

Result<Tensor> CastTo(const Tensor& tensor, DType dtype) {
  if (tensor.dtype() == dtype) return tensor;
  const auto bytes = BytesFor(dtype, tensor.shape());
  if (!bytes) return TooLarge(tensor.shape());
  std::string target(*bytes, '\0');
  VisitType(tensor.dtype(), [&](auto from_zero) {
    VisitType(dtype, [&](auto to_zero) {
      using From = decltype(from_zero);
      using To = decltype(to_zero);
      const uint64_t count = tensor.bytes().size() / sizeof(From);
      for (uint64_t i = 0; i < count; ++i) {
        From from{};
        std::memcpy(&from, tensor.bytes().data() + i * sizeof(From), sizeof(From));
        To to{};
        if (dtype == DType::kBool) {
          if constexpr (std::is_same_v<To, uint8_t>) to = Value(from) != 0 ? 1 : 0;
        } else {
          to = Convert<To>(from);
        }
        std::memcpy(target.data() + i * sizeof(To), &to, sizeof(To));
      }
    });
  });
  return Tensor(dtype, tensor.shape(), std::move(target));
}

Tensor SliceOf(const Tensor& tensor, size_t axis, int64_t begin, int64_t end) {
  View view{0, tensor.shape(), StridesOf(tensor.shape())};
  view.offset = begin * view.strides[axis];
  view.dims[axis] = end - begin;
  return Gather(tensor, view);
}

Result<Tensor> Concatenate(std::span<const Tensor> tensors, size_t axis) {
  Shape shape = tensors[0].shape();
  shape[axis] = 0;
  for (const Tensor& tensor : tensors) {
    Shape others = tensor.shape();
    if (others.size() == shape.size()) others[axis] = shape[axis];
    if (others != shape || tensor.dtype() != tensors[0].dtype())
      return Fail(Nerr::kInvalid, "{} beside {}", tensor.Text(), tensors[0].Text());
    shape[axis] += tensor.shape()[axis];
  }
  const auto bytes = BytesFor(tensors[0].dtype(), shape);
  if (!bytes) return TooLarge(shape);
  uint64_t blocks = 1;
  for (size_t d = 0; d < axis; ++d) blocks *= static_cast<uint64_t>(shape[d]);
  std::string target;
  target.reserve(*bytes);
  for (uint64_t block = 0; block < blocks; ++block) {
    for (const Tensor& tensor : tensors) {
      const uint64_t size = tensor.bytes().size() / blocks;
      target.append(tensor.bytes(), block * size, size);
    }
  }
  return Tensor(tensors[0].dtype(), std::move(shape), std::move(target));
}

Result<std::vector<Tensor>> RunOperation(const Operation& operation,
                                         std::span<const Tensor> inputs) {
  return std::visit(Runner{inputs}, operation);
}

}  // namespace nrtd::serving
