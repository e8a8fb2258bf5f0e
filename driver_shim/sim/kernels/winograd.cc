// SPDX-License-Identifier: Apache-2.0
#include "driver_shim/sim/kernels/winograd.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "driver_shim/sim/kernels/vector_math.h"

namespace nrtd::sim {
namespace {

// Tiles at once: enough rows for each set of weights that is read, few enough for the cache.
constexpr int64_t kMostTiles = 60;

NRTD_INLINE Vector LoadEight(const float* from) {
  Vector vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}
NRTD_INLINE void StoreEight(float* to, const Vector& vector) {
  std::memcpy(to, &vector, sizeof(vector));
}

// B^T d B of the tile at `from`, place by place `step` floats apart.
NRTD_INLINE void TransformTile(const float* from, int64_t row, int64_t pixel, float* to,
                               int64_t step) {
  Vector down[4][4];
  for (int x = 0; x < 4; ++x) {
    const Vector d0 = LoadEight(from + x * pixel);
    const Vector d1 = LoadEight(from + row + x * pixel);
    const Vector d2 = LoadEight(from + 2 * row + x * pixel);
    const Vector d3 = LoadEight(from + 3 * row + x * pixel);
    down[0][x] = d0 - d2;
    down[1][x] = d1 + d2;
    down[2][x] = d2 - d1;
    down[3][x] = d1 - d3;
  }
  for (int y = 0; y < 4; ++y) {
    float* place = to + y * 4 * step;
    StoreEight(place, down[y][0] - down[y][2]);
    StoreEight(place + step, down[y][1] + down[y][2]);
    StoreEight(place + 2 * step, down[y][2] - down[y][1]);
    StoreEight(place + 3 * step, down[y][1] - down[y][3]);
  }
}

// A^T m A of the products at `from`.
NRTD_INLINE void TransformProducts(const float* from, int64_t step, Vector (&out)[2][2]) {
  Vector down[2][4];
  for (int x = 0; x < 4; ++x) {
    const Vector m0 = LoadEight(from + x * step);
    const Vector m1 = LoadEight(from + (4 + x) * step);
    const Vector m2 = LoadEight(from + (8 + x) * step);
    const Vector m3 = LoadEight(from + (12 + x) * step);
    down[0][x] = m0 + m1 + m2;
    down[1][x] = m1 - m2 - m3;
  }
  for (int y = 0; y < 2; ++y) {
    out[y][0] = down[y][0] + down[y][1] + down[y][2];
    out[y][1] = down[y][1] - down[y][2] - down[y][3];
  }
}

struct Place {
  int64_t image, down, across;
};
Place PlaceOf(const WinogradShape& shape, int64_t tile) {
  const int64_t across = shape.tiles_across();
  const int64_t rows = tile / across;
  return {rows / shape.tiles_down(), rows % shape.tiles_down(), tile % across};
}

}  // namespace

uint64_t WinogradWeightWords(const WinogradShape& shape) {
  return static_cast<uint64_t>(kWinogradPlaces) * PackedWords(shape.channels, shape.columns);
}

Winograd::Winograd(const WinogradShape& shape) : shape_(shape) {
  const int64_t blocks = (shape.tiles() + kMostTiles - 1) / kMostTiles;
  block_ = (shape.tiles() + blocks - 1) / blocks;
  scratch_floats_ =
      static_cast<uint64_t>(kWinogradPlaces * block_ * (shape.channels + shape.columns));
  const sim::Run whole{0, shape.channels};
  depth_ = CutDepth({&whole, 1}, *Float32Form());
  for (int64_t t = 0; t < block_; ++t) {
    row_input_.push_back(static_cast<uint64_t>(t * shape.channels));
    row_output_.push_back(static_cast<uint64_t>(t * shape.columns));
  }
  no_bias_.assign(static_cast<size_t>(PackedColumns(shape.columns)), 0.0F);
}

void Winograd::Run(const Job& job) const {
  for (int64_t first = 0; first < shape_.tiles(); first += block_) {
    const int64_t count = std::min(block_, shape_.tiles() - first);
    TransformInputs(job, first, count);
    Multiply(job, count);
    TransformOutputs(job, first, count);
  }
}

void Winograd::TransformInputs(const Job& job, int64_t first, int64_t count) const {
  const int64_t step = block_ * shape_.channels;
  RunVectorised([&]() __attribute__((always_inline)) {
    for (int64_t t = 0; t < count; ++t) {
      const Place place = PlaceOf(shape_, first + t);
      const int64_t row = shape_.input_row_floats();
      const float* from = job.input + (place.image * shape_.input_rows() + 2 * place.down) * row +
                          2 * place.across * shape_.channels;
      for (int64_t c = 0; c < shape_.channels; c += kLanes)
        TransformTile(from + c, row, shape_.channels, job.scratch + t * shape_.channels + c, step);
    }
  });
}

void Winograd::Multiply(const Job& job, int64_t count) const {
  const auto* inputs = reinterpret_cast<const Word*>(job.scratch);
  float* products = job.scratch + kWinogradPlaces * block_ * shape_.channels;
  const auto rows = static_cast<size_t>(count);
  for (int64_t place = 0; place < kWinogradPlaces; ++place) {
    Float32Form()->run({.input = inputs + place * block_ * shape_.channels,
                        .output = products + place * block_ * shape_.columns,
                        .row_input = std::span(row_input_).first(rows),
                        .row_output = std::span(row_output_).first(rows),
                        .blocks = depth_,
                        .weights = job.weights + static_cast<uint64_t>(place) *
                                                     PackedWords(shape_.channels, shape_.columns),
                        .bias = no_bias_.data(),
                        .columns = shape_.columns});
  }
}

void Winograd::TransformOutputs(const Job& job, int64_t first, int64_t count) const {
  const float* products = job.scratch + kWinogradPlaces * block_ * shape_.channels;
  const int64_t step = block_ * shape_.columns;
  RunVectorised([&]() __attribute__((always_inline)) {
    for (int64_t t = 0; t < count; ++t) {
      const Place place = PlaceOf(shape_, first + t);
      float* to = job.output + place.image * job.image_stride + 2 * place.down * job.row_stride +
                  2 * place.across * job.pixel_stride;
      const int64_t rows = std::min<int64_t>(2, shape_.height - 2 * place.down);
      const int64_t pixels = std::min<int64_t>(2, shape_.width - 2 * place.across);
      for (int64_t c = 0; c < shape_.columns; c += kLanes) {
        Vector out[2][2];
        TransformProducts(products + t * shape_.columns + c, step, out);
        const Vector bias = LoadEight(job.bias + c);
        for (int64_t y = 0; y < rows; ++y) {
          for (int64_t x = 0; x < pixels; ++x) {
            Vector sum = out[y][x] + bias;
            // NaN stays NaN.
            sum = sum < All(job.clamp.least) ? All(job.clamp.least) : sum;
            sum = sum > All(job.clamp.most) ? All(job.clamp.most) : sum;
            StoreEight(to + y * job.row_stride + x * job.pixel_stride + c, sum);
          }
        }
      }
    }
  });
}

}  // namespace nrtd::sim
