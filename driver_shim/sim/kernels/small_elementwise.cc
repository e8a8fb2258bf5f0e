// SPDX-License-Identifier: Apache-2.0
//
// Small activations and pooling. Loops for the vectoriser; a NaN that goes in comes out,
// so that it can be reported.
#include <algorithm>
#include <cmath>

#include "driver_shim/sim/kernels/operand_values.h"
#include "driver_shim/sim/kernels/small.h"

namespace nrtd::sim {
namespace {

uint64_t Elements(const Operand& operand) {
  uint64_t count = 1;
  for (int64_t dim : operand.dims) count *= static_cast<uint64_t>(dim);
  return count;
}

DataRef<const float> FloatsAt(const Operand& operand, const KernelContext& context) {
  return DataRef<const float>(context.resolve(operand));
}
DataRef<float> OutputAt(const Operand& operand, const KernelContext& context) {
  return DataRef<float>(context.resolve(operand));
}

// NaN if either is.
float Larger(float a, float b) {
  return a >= b || a != a ? a : b;
}

// Two runs of floats, equal or apart, through `map`.
template <typename Map>
class MapKernel final : public Kernel {
 public:
  MapKernel(DataRef<const float> from, DataRef<float> to, uint64_t count, Map map)
      : from_(from), to_(to), count_(count), map_(map) {}
  bool Run() override {
    const float* from = from_;
    float* to = to_;
    for (uint64_t i = 0; i < count_; ++i) to[i] = map_(from[i]);
    return true;
  }

 private:
  DataRef<const float> from_;
  DataRef<float> to_;
  uint64_t count_;
  Map map_;
};

// The part of a window that lies inside the input.
struct Window {
  int64_t first;
  int64_t end;
};
std::vector<Window> Windows(int64_t outputs, int64_t kernel, int64_t stride, int64_t pad,
                            int64_t size) {
  std::vector<Window> windows;
  for (int64_t i = 0; i < outputs; ++i) {
    const int64_t start = i * stride - pad;
    windows.push_back({std::max<int64_t>(start, 0), std::min(start + kernel, size)});
  }
  return windows;
}

class PoolKernel final : public Kernel {
 public:
  explicit PoolKernel(const Pool2d& p, const KernelContext& context)
      : pool(p),
        input(FloatsAt(p.input, context)),
        output(OutputAt(p.output, context)),
        rows(Windows(p.output.dims[2], p.kernel[0], p.strides[0], p.pads[0], p.input.dims[2])),
        columns(Windows(p.output.dims[3], p.kernel[1], p.strides[1], p.pads[1], p.input.dims[3])) {}

  bool Empty() const {
    const auto empty = [](const Window& w) { return w.first >= w.end; };
    return std::any_of(rows.begin(), rows.end(), empty) ||
           std::any_of(columns.begin(), columns.end(), empty);
  }

  bool Run() override {
    for (int64_t n = 0; n < pool.output.dims[0]; ++n) {
      for (int64_t c = 0; c < pool.output.dims[1]; ++c) {
        (this->*run_plane)(input + n * pool.input.strides[0] + c * pool.input.strides[1],
                           output + n * pool.output.strides[0] + c * pool.output.strides[1]);
      }
    }
    return true;
  }

 private:
  using RunPlane = void (PoolKernel::*)(const float*, float*) const;

  // The commonest pooling by far, with nothing left to decide in the loop.
  bool IsMaxOfFour() const {
    return pool.kind == PoolKind::kMax && pool.kernel == std::array<int64_t, 2>{2, 2} &&
           pool.strides == pool.kernel && pool.pads == std::array<int64_t, 4>{} &&
           pool.input.strides[3] == 1 && pool.output.strides[3] == 1;
  }
  void MaxOfFour(const float* in, float* out) const {
    const size_t width = columns.size();
    for (size_t y = 0; y < rows.size(); ++y) {
      const float* upper = in + rows[y].first * pool.input.strides[2];
      const float* lower = upper + pool.input.strides[2];
      float* to = out + static_cast<int64_t>(y) * pool.output.strides[2];
      for (size_t x = 0; x < width; ++x) {
        to[x] =
            Larger(Larger(upper[2 * x], upper[2 * x + 1]), Larger(lower[2 * x], lower[2 * x + 1]));
      }
    }
  }
  void Any(const float* in, float* out) const {
    for (size_t y = 0; y < rows.size(); ++y) {
      float* to = out + static_cast<int64_t>(y) * pool.output.strides[2];
      for (size_t x = 0; x < columns.size(); ++x, to += pool.output.strides[3])
        *to = pool.kind == PoolKind::kMax ? Most(in, rows[y], columns[x])
                                          : Mean(in, rows[y], columns[x]);
    }
  }
  float Most(const float* in, const Window& row, const Window& column) const {
    const int64_t step = pool.input.strides[3];
    float most = in[row.first * pool.input.strides[2] + column.first * step];
    for (int64_t y = row.first; y < row.end; ++y) {
      const float* from = in + y * pool.input.strides[2];
      for (int64_t x = column.first; x < column.end; ++x) {
        const float value = from[x * step];
        most = Larger(most, value);
      }
    }
    return most;
  }
  float Mean(const float* in, const Window& row, const Window& column) const {
    float sum = 0;
    for (int64_t y = row.first; y < row.end; ++y) {
      const float* from = in + y * pool.input.strides[2];
      for (int64_t x = column.first; x < column.end; ++x) sum += from[x * pool.input.strides[3]];
    }
    const int64_t under = (row.end - row.first) * (column.end - column.first);
    const int64_t whole = pool.kernel[0] * pool.kernel[1];
    return sum / static_cast<float>(pool.kind == PoolKind::kAverageExcludePad ? under : whole);
  }

  const Pool2d pool;
  const DataRef<const float> input;
  const DataRef<float> output;
  const std::vector<Window> rows;
  const std::vector<Window> columns;
  const RunPlane run_plane = IsMaxOfFour() ? &PoolKernel::MaxOfFour : &PoolKernel::Any;
};

}  // namespace

std::unique_ptr<Kernel> MakeSmallActivation(const Activation& activation,
                                            const KernelContext& context) {
  const Operand& input = activation.input;
  const Operand& output = activation.output;
  const uint64_t count = Elements(output);
  // One layout without gaps: both are runs.
  if (count > kSmallElements || input.strides != output.strides || SpanElements(output) != count)
    return nullptr;
  const auto make = [&](auto map) -> std::unique_ptr<Kernel> {
    return std::make_unique<MapKernel<decltype(map)>>(FloatsAt(input, context),
                                                      OutputAt(output, context), count, map);
  };
  switch (activation.function) {
    case Function::kRelu:
      return make([](float x) { return x < 0 ? 0 : x; });
    case Function::kLeakyRelu:
      return make([a = activation.alpha](float x) { return x < 0 ? a * x : x; });
    case Function::kClip:
      return make([low = activation.alpha, high = activation.beta](float x) {
        const float above = x < low ? low : x;
        return above > high ? high : above;
      });
    case Function::kAbs:
      return make([](float x) { return std::fabs(x); });
    case Function::kLinear:
      return make([a = activation.alpha, b = activation.beta](float x) { return a * x + b; });
    default:
      return nullptr;
  }
}

std::unique_ptr<Kernel> MakeSmallPool2d(const Pool2d& pool, const KernelContext& context) {
  const auto window = static_cast<uint64_t>(pool.kernel[0] * pool.kernel[1]);
  const bool rows = pool.input.strides[3] == 1 && pool.output.strides[3] == 1;
  if (!rows && Elements(pool.output) * window > kSmallElements) return nullptr;
  auto kernel = std::make_unique<PoolKernel>(pool, context);
  if (kernel->Empty()) return nullptr;
  return kernel;
}

}  // namespace nrtd::sim
