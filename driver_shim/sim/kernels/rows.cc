// SPDX-License-Identifier: Apache-2.0
//
// Instructions that look at a whole row before they write it: softmax, layer normalisation,
// reductions. And the functions that oneDNN has not.
#include <algorithm>
#include <cmath>
#include <limits>

#include "driver_shim/sim/kernels/onednn.h"
#include "driver_shim/sim/kernels/strided.h"
#include "driver_shim/sim/kernels/vector_math.h"

namespace nrtd::sim {
namespace {

DataRef<const float> InputAt(const Operand& operand, const KernelContext& context) {
  return DataRef<const float>(context.resolve(operand));
}
DataRef<float> OutputAt(const Operand& operand, const KernelContext& context) {
  return DataRef<float>(context.resolve(operand));
}

// All dimensions but one.
Operand Without(Operand operand, size_t axis) {
  operand.dims.erase(operand.dims.begin() + static_cast<std::ptrdiff_t>(axis));
  operand.strides.erase(operand.strides.begin() + static_cast<std::ptrdiff_t>(axis));
  if (operand.dims.empty()) {
    operand.dims = {1};
    operand.strides = {0};
  }
  return operand;
}

// Calls run(offsets) for the beginning of every row.
template <size_t N, typename Run>
NRTD_INLINE void ForEachStart(const std::vector<StridedAxis<N>>& axes, const Run& run) {
  ForEachRow(
      axes, [&](std::array<int64_t, N> at, const StridedAxis<N>& axis)
                __attribute__((always_inline)) {
                  for (int64_t i = 0; i < axis.size; ++i) {
                    run(at);
                    for (size_t n = 0; n < N; ++n) at[n] += axis.strides[n];
                  }
                });
}

class SoftmaxRows final : public Kernel {
 public:
  // The row must be contiguous in input and output, and in the mask or repeated there.
  SoftmaxRows(const Softmax& softmax, const KernelContext& context)
      : count_(softmax.output.dims[static_cast<size_t>(softmax.axis)]),
        scale_(softmax.scale),
        input_(InputAt(softmax.input, context)),
        mask_(softmax.mask ? InputAt(*softmax.mask, context) : DataRef<const float>()),
        output_(OutputAt(softmax.output, context)) {
    const auto axis = static_cast<size_t>(softmax.axis);
    const Operand output = Without(softmax.output, axis);
    const Operand input = Without(softmax.input, axis);
    const Operand mask = softmax.mask ? Without(*softmax.mask, axis) : output;
    axes_ = JoinAxes<3>({&output, &input, &mask});
    mask_repeats_ = softmax.mask && softmax.mask->dims[axis] == 1;
  }

  bool Run() override {
    RunVectorised([this]() __attribute__((always_inline)) {
      ForEachStart(
          axes_, [this](const auto& at) __attribute__((always_inline)) {
            RunRow(input_ + at[1], mask_ != nullptr ? mask_ + at[2] : nullptr, output_ + at[0]);
          });
    });
    return true;
  }

 private:
  NRTD_INLINE void RunRow(const float* input, const float* mask, float* output) const {
    Vector largest = All(-std::numeric_limits<float>::infinity());
    for (int64_t i = 0; i < count_; i += kLanes) {
      const int64_t left = count_ - i;
      Vector z = LoadPart(input + i, left, 0) * scale_;
      if (mask != nullptr) z += mask_repeats_ ? All(*mask) : LoadPart(mask + i, left, 0);
      StorePart(output + i, left, z);
      if (left < kLanes) z = LoadPart(output + i, left, -std::numeric_limits<float>::infinity());
      largest = Larger(z, largest);
    }
    const float most = Largest(largest);
    Vector sums{};
    for (int64_t i = 0; i < count_; i += kLanes) {
      const int64_t left = count_ - i;
      const Vector e =
          Exp(LoadPart(output + i, left, -std::numeric_limits<float>::infinity()) - most);
      StorePart(output + i, left, e);
      // What is behind the row's end is exp(-87), which a short row would feel.
      sums += left >= kLanes ? e : LoadPart(output + i, left, 0);
    }
    const float scale = 1 / Sum(sums);
    for (int64_t i = 0; i < count_; i += kLanes) {
      const int64_t left = count_ - i;
      StorePart(output + i, left, LoadPart(output + i, left, 0) * scale);
    }
  }

  const int64_t count_;
  const float scale_;
  const DataRef<const float> input_;
  const DataRef<const float> mask_;
  const DataRef<float> output_;
  bool mask_repeats_ = false;
  std::vector<StridedAxis<3>> axes_;
};

// Any strides.
class StridedSoftmax final : public Kernel {
 public:
  StridedSoftmax(const Softmax& softmax, const KernelContext& context)
      : softmax_(softmax),
        input_(InputAt(softmax.input, context)),
        mask_(softmax.mask ? InputAt(*softmax.mask, context) : DataRef<const float>()),
        output_(OutputAt(softmax.output, context)) {
    const auto axis = static_cast<size_t>(softmax.axis);
    const Operand output = Without(softmax.output, axis);
    const Operand input = Without(softmax.input, axis);
    const Operand mask = softmax.mask ? Without(*softmax.mask, axis) : output;
    axes_ = JoinAxes<3>({&output, &input, &mask});
    count_ = softmax.output.dims[axis];
    strides_ = {softmax.output.strides[axis], softmax.input.strides[axis],
                softmax.mask && softmax.mask->dims[axis] != 1 ? softmax.mask->strides[axis] : 0};
  }

  bool Run() override {
    ForEachStart(axes_, [this](const auto& at) {
      float* output = output_ + at[0];
      const float* input = input_ + at[1];
      const float* mask = mask_ != nullptr ? mask_ + at[2] : nullptr;
      float most = -std::numeric_limits<float>::infinity();
      for (int64_t i = 0; i < count_; ++i) {
        const float z =
            input[i * strides_[1]] * softmax_.scale + (mask != nullptr ? mask[i * strides_[2]] : 0);
        output[i * strides_[0]] = z;
        most = std::max(most, z);
      }
      float sum = 0;
      for (int64_t i = 0; i < count_; ++i) {
        float& value = output[i * strides_[0]];
        value = std::exp(value - most);
        sum += value;
      }
      for (int64_t i = 0; i < count_; ++i) output[i * strides_[0]] /= sum;
    });
    return true;
  }

 private:
  const Softmax softmax_;
  const DataRef<const float> input_;
  const DataRef<const float> mask_;
  const DataRef<float> output_;
  int64_t count_ = 0;
  std::array<int64_t, 3> strides_{};
  std::vector<StridedAxis<3>> axes_;
};

// Two passes for the variance: one would lose all digits where the mean is large.
class LayerNormKernel final : public Kernel {
 public:
  LayerNormKernel(const LayerNorm& norm, const KernelContext& context)
      : count_(norm.input.dims.back()),
        epsilon_(norm.epsilon),
        input_stride_(norm.input.strides.back()),
        output_stride_(norm.output.strides.back()),
        input_(InputAt(norm.input, context)),
        output_(OutputAt(norm.output, context)),
        scale_(Constant(norm.scale, 1, context)),
        bias_(Constant(norm.bias, 0, context)),
        scale_at_(Live(norm.scale, context)),
        bias_at_(Live(norm.bias, context)),
        row_(static_cast<size_t>(count_)) {
    const size_t axis = norm.input.dims.size() - 1;
    const Operand output = Without(norm.output, axis);
    const Operand input = Without(norm.input, axis);
    axes_ = JoinAxes<2>({&output, &input});
  }

  bool Run() override {
    if (scale_at_.are_live()) scale_at_.CopyTo(scale_);
    if (bias_at_.are_live()) bias_at_.CopyTo(bias_);
    RunVectorised([this]() __attribute__((always_inline)) {
      ForEachStart(
          axes_, [this](const auto& at) __attribute__((always_inline)) {
            const float* input = input_ + at[1];
            float* output = output_ + at[0];
            if (input_stride_ != 1) {
              for (int64_t i = 0; i < count_; ++i)
                row_[static_cast<size_t>(i)] = input[i * input_stride_];
              input = row_.data();
            }
            float* const target = output_stride_ == 1 ? output : row_.data();
            RunRow(input, target);
            if (output_stride_ == 1) return;
            for (int64_t i = 0; i < count_; ++i)
              output[i * output_stride_] = row_[static_cast<size_t>(i)];
          });
    });
    return true;
  }

 private:
  struct Values {
    DataRef<const float> data;
    int64_t stride = 0;
    bool are_live() const { return data != nullptr; }
    void CopyTo(std::vector<float>& values) const {
      const float* from = data;
      for (size_t i = 0; i < values.size(); ++i) values[i] = from[static_cast<int64_t>(i) * stride];
    }
  };
  static Values Live(const std::optional<Operand>& operand, const KernelContext& context) {
    if (!operand || context.constant(operand->var_id)) return {};
    return {InputAt(*operand, context), operand->strides[0]};
  }
  std::vector<float> Constant(const std::optional<Operand>& operand, float otherwise,
                              const KernelContext& context) const {
    std::vector<float> values(static_cast<size_t>(count_), otherwise);
    if (operand && context.constant(operand->var_id)) {
      const auto* from = reinterpret_cast<const float*>(ReadNow(*operand, context));
      for (size_t i = 0; i < values.size(); ++i)
        values[i] = from[static_cast<int64_t>(i) * operand->strides[0]];
    }
    return values;
  }

  NRTD_INLINE void RunRow(const float* input, float* output) const {
    const float inverse = 1 / static_cast<float>(count_);
    Vector sums{};
    for (int64_t i = 0; i < count_; i += kLanes) sums += LoadPart(input + i, count_ - i, 0);
    const float mean = Sum(sums) * inverse;
    Vector squares{};
    for (int64_t i = 0; i < count_; i += kLanes) {
      const Vector apart = LoadPart(input + i, count_ - i, mean) - mean;
      squares += apart * apart;
    }
    const float factor = 1 / std::sqrt(Sum(squares) * inverse + epsilon_);
    for (int64_t i = 0; i < count_; i += kLanes) {
      const int64_t left = count_ - i;
      const Vector apart = LoadPart(input + i, left, 0) - mean;
      StorePart(output + i, left,
                apart * factor * LoadPart(scale_.data() + i, left, 0) +
                    LoadPart(bias_.data() + i, left, 0));
    }
  }

  const int64_t count_;
  const float epsilon_;
  const int64_t input_stride_;
  const int64_t output_stride_;
  const DataRef<const float> input_;
  const DataRef<float> output_;
  std::vector<float> scale_;
  std::vector<float> bias_;
  const Values scale_at_;
  const Values bias_at_;
  std::vector<float> row_;  // of strided rows
  std::vector<StridedAxis<2>> axes_;
};

class ReduceKernel final : public Kernel {
 public:
  ReduceKernel(const Reduce& reduce, const KernelContext& context)
      : kind_(reduce.kind),
        axes_(JoinAxes<2>({&reduce.input, &reduce.output})),
        output_axes_(JoinAxes<1>({&reduce.output})),
        input_(InputAt(reduce.input, context)),
        output_(OutputAt(reduce.output, context)) {
    int64_t reduced = 1;
    for (size_t d = 0; d < reduce.input.dims.size(); ++d)
      reduced *= reduce.input.dims[d] / reduce.output.dims[d];
    if (kind_ == Reduction::kMean) factor_ = 1 / static_cast<float>(reduced);
    // In pieces of the longest axis, which add to what is in the output.
    for (size_t a = 1; a < axes_.size(); ++a)
      if (axes_[a].size > axes_[longest_].size) longest_ = a;
    const int64_t size = axes_[longest_].size;
    const auto pieces = static_cast<int64_t>(context.reduce_pieces);
    at_once_ = (size + pieces - 1) / pieces;
    pieces_ = static_cast<uint64_t>((size + at_once_ - 1) / at_once_);
  }

  bool Run() override {
    for (uint64_t piece = 0; piece < pieces_; ++piece) RunPiece(piece);
    return true;
  }
  uint64_t pieces() const override { return pieces_; }
  bool RunPiece(uint64_t piece) override {
    is_first_ = piece == 0;
    is_last_ = piece + 1 == pieces_;
    part_ = axes_;
    const int64_t begin = static_cast<int64_t>(piece) * at_once_;
    part_[longest_].size = std::min(at_once_, axes_[longest_].size - begin);
    input_at_ = input_ + begin * axes_[longest_].strides[0];
    output_at_ = output_ + begin * axes_[longest_].strides[1];
    switch (kind_) {
      case Reduction::kMean:
      case Reduction::kSum:
        RunWith(
            0, [](auto a, auto b) __attribute__((always_inline)) { return a + b; });
        break;
      case Reduction::kProduct:
        RunWith(
            1, [](auto a, auto b) __attribute__((always_inline)) { return a * b; });
        break;
      // a is what was found so far. It stays if it is NaN, and is taken over if b is.
      case Reduction::kMaximum:
        RunWith(
            -std::numeric_limits<float>::infinity(),
            [](auto a, auto b)
                __attribute__((always_inline)) { return ((a >= b) | (a != a)) ? a : b; });
        break;
      case Reduction::kMinimum:
        RunWith(
            std::numeric_limits<float>::infinity(),
            [](auto a, auto b)
                __attribute__((always_inline)) { return ((a <= b) | (a != a)) ? a : b; });
        break;
    }
    return true;
  }

 private:
  template <typename Combine>
  void RunWith(float start, const Combine& combine) {
    if (is_first_) {
      ForEachRow(output_axes_, [&](const auto& at, const StridedAxis<1>& axis) {
        for (int64_t i = 0; i < axis.size; ++i) output_[at[0] + i * axis.strides[0]] = start;
      });
    }
    RunVectorised([&]() __attribute__((always_inline)) {
      ForEachRow(
          part_, [&](const auto& at, const StridedAxis<2>& axis) __attribute__((always_inline)) {
            RunRow(input_at_ + at[0], output_at_ + at[1], axis, start, combine);
          });
    });
    if (factor_ == 1 || !is_last_) return;
    ForEachRow(output_axes_, [&](const auto& at, const StridedAxis<1>& axis) {
      for (int64_t i = 0; i < axis.size; ++i) output_[at[0] + i * axis.strides[0]] *= factor_;
    });
  }

  template <typename Combine>
  NRTD_INLINE static void RunRow(const float* input, float* output, const StridedAxis<2>& axis,
                                 float start, const Combine& combine) {
    const auto [from, to] = axis.strides;
    if (to == 0 && from == 1) {
      Vector parts = All(start);
      for (int64_t i = 0; i < axis.size; i += kLanes)
        parts = combine(parts, LoadPart(input + i, axis.size - i, start));
      for (int64_t i = 0; i < kLanes; ++i) *output = combine(*output, float{parts[i]});
    } else if (to == 1 && from == 1) {
      for (int64_t i = 0; i < axis.size; i += kLanes) {
        const int64_t left = axis.size - i;
        StorePart(output + i, left,
                  combine(LoadPart(output + i, left, 0), LoadPart(input + i, left, 0)));
      }
    } else {
      for (int64_t i = 0; i < axis.size; ++i)
        output[i * to] = combine(output[i * to], input[i * from]);
    }
  }

  const Reduction kind_;
  const std::vector<StridedAxis<2>> axes_;
  const std::vector<StridedAxis<1>> output_axes_;
  const DataRef<const float> input_;
  const DataRef<float> output_;
  float factor_ = 1;
  size_t longest_ = 0;
  int64_t at_once_ = 1;
  uint64_t pieces_ = 1;
  // Of the piece that runs.
  std::vector<StridedAxis<2>> part_;
  const float* input_at_ = nullptr;
  float* output_at_ = nullptr;
  bool is_first_ = true, is_last_ = true;
};

template <typename Map>
class MapRows final : public Kernel {
 public:
  MapRows(const Activation& activation, const KernelContext& context, Map map)
      : axes_(JoinAxesByStride<2>({&activation.output, &activation.input})),
        input_(InputAt(activation.input, context)),
        output_(OutputAt(activation.output, context)),
        map_(map) {}
  bool Run() override {
    ForEachRow(axes_, [this](const auto& at, const StridedAxis<2>& axis) {
      float* output = output_ + at[0];
      const float* input = input_ + at[1];
      for (int64_t i = 0; i < axis.size; ++i)
        output[i * axis.strides[0]] = map_(input[i * axis.strides[1]]);
    });
    return true;
  }

 private:
  const std::vector<StridedAxis<2>> axes_;
  const DataRef<const float> input_;
  const DataRef<float> output_;
  const Map map_;
};

}  // namespace

std::unique_ptr<Kernel> MakeSoftmax(const Softmax& softmax, const KernelContext& context) {
  const auto axis = static_cast<size_t>(softmax.axis);
  const bool rows =
      softmax.input.strides[axis] == 1 && softmax.output.strides[axis] == 1 &&
      (!softmax.mask || softmax.mask->dims[axis] == 1 || softmax.mask->strides[axis] == 1);
  if (rows) return std::make_unique<SoftmaxRows>(softmax, context);
  return std::make_unique<StridedSoftmax>(softmax, context);
}

std::unique_ptr<Kernel> MakeLayerNorm(const LayerNorm& norm, const KernelContext& context) {
  return std::make_unique<LayerNormKernel>(norm, context);
}

std::unique_ptr<Kernel> MakeReduce(const Reduce& reduce, const KernelContext& context) {
  return std::make_unique<ReduceKernel>(reduce, context);
}

std::unique_ptr<Kernel> MakeMappedActivation(const Activation& activation,
                                             const KernelContext& context) {
  const auto make = [&](auto map) -> std::unique_ptr<Kernel> {
    return std::make_unique<MapRows<decltype(map)>>(activation, context, map);
  };
  switch (activation.function) {
    case Function::kErf:
      return make([](float x) { return std::erf(x); });
    case Function::kFloor:
      return make([](float x) { return std::floor(x); });
    case Function::kCeil:
      return make([](float x) { return std::ceil(x); });
    case Function::kElu:
      return make([a = activation.alpha](float x) { return x > 0 ? x : a * std::expm1(x); });
    case Function::kSoftplus:
      // log(1 + exp(x)) without overflow.
      return make([](float x) { return std::max(x, 0.0F) + std::log1p(std::exp(-std::fabs(x))); });
    case Function::kReciprocal:
      return make([](float x) { return 1 / x; });
    default:
      return nullptr;
  }
}

}  // namespace nrtd::sim
