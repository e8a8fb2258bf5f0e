// SPDX-License-Identifier: Apache-2.0
//
// Convolutions of 3 x 3 with 4/9 of the multiplications: F(2 x 2, 3 x 3) of Lavin and Gray, "Fast
// Algorithms for Convolutional Neural Networks" (2015). A tile of 4 x 4 inputs gives 2 x 2 outputs;
// transformed, it takes 16 products instead of 36. The transforms only add and halve. Products are
// not those of the plain form: an output's error is that of a few more float32 additions of the
// tile's largest input, also where that is not under its window, and an infinity in the tile may
// give NaN (docs/sim-isa.md, Precision).
#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <vector>

#include "driver_shim/sim/kernels/packed_product.h"

namespace nrtd::sim {

inline constexpr int64_t kWinogradPlaces = 16;  // of a transformed tile

struct WinogradShape {
  int64_t images = 1;
  int64_t height = 0, width = 0;  // of the output
  int64_t channels = 0;           // of the input; a multiple of 8
  int64_t columns = 0;            // of the output; a multiple of 8

  int64_t tiles_down() const { return (height + 1) / 2; }
  int64_t tiles_across() const { return (width + 1) / 2; }
  int64_t tiles() const { return images * tiles_down() * tiles_across(); }
  // Of the input that tiles read: with its border, and what the last tiles reach beyond it.
  int64_t input_rows() const { return 2 * tiles_down() + 2; }
  int64_t input_row_floats() const { return (2 * tiles_across() + 2) * channels; }
};

// Transformed weights, packed for Float32Form(), which there is: weight(column, channel, 3 ky + kx)
// is a value. Leaves off when the stop is requested.
uint64_t WinogradWeightWords(const WinogradShape& shape);
template <typename Weight>
void PackWinograd(const WinogradShape& shape, const Weight& weight, Word* to,
                  const std::stop_token& stop) {
  // G g G^T
  constexpr float kG[4][3] = {{1, 0, 0}, {0.5F, 0.5F, 0.5F}, {0.5F, -0.5F, 0.5F}, {0, 0, 1}};
  const Run whole{0, shape.channels};
  const ProductForm& form = *Float32Form();
  const std::vector<DepthBlock> blocks = CutDepth({&whole, 1}, form);
  for (int64_t place = 0; place < kWinogradPlaces; ++place) {
    const float* down = kG[place / 4];
    const float* across = kG[place % 4];
    PackFloats(
        form, blocks, shape.columns,
        [&](int64_t channel, int64_t column) {
          float sum = 0;
          for (int64_t tap = 0; tap < 9; ++tap)
            sum += down[tap / 3] * across[tap % 3] * weight(column, channel, tap);
          return sum;
        },
        to, stop);
    to += PackedWords(shape.channels, shape.columns);
  }
}

// A convolution, for one thread, on a CPU that has a Float32Form().
class Winograd {
 public:
  explicit Winograd(const WinogradShape& shape);

  uint64_t scratch_floats() const { return scratch_floats_; }

  struct Job {
    const float* input = nullptr;  // [images][input_rows()][input_row_floats()]
    const Word* weights = nullptr;
    const float* bias = nullptr;                                 // [columns]
    float* output = nullptr;                                     // channels last
    int64_t image_stride = 0, row_stride = 0, pixel_stride = 0;  // of the output, in elements
    Clamp clamp;                                                 // of outputs
    float* scratch = nullptr;                                    // scratch_floats()
  };
  void Run(const Job& job) const;

 private:
  void TransformInputs(const Job& job, int64_t first, int64_t count) const;
  void Multiply(const Job& job, int64_t count) const;
  void TransformOutputs(const Job& job, int64_t first, int64_t count) const;

  const WinogradShape shape_;
  int64_t block_;  // tiles at once
  uint64_t scratch_floats_;
  std::vector<DepthBlock> depth_;
  std::vector<uint64_t> row_input_, row_output_;  // of the tiles of a block
  std::vector<float> no_bias_;
};

}  // namespace nrtd::sim
