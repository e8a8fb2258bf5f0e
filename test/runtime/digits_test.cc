// SPDX-License-Identifier: Apache-2.0
//
// A real network through everything below the service: compiled, loaded, run; the numbers are those
// of ONNX Runtime.
#include <cmath>

#include "base/npy.h"
#include "test/runtime/runtime_fixture.h"

namespace nrtd::runtime {
namespace {

constexpr size_t kPixels = 64;
constexpr size_t kDigits = 10;
// Of bfloat16 operands over the layers of this network.
constexpr float kTolerance = 2e-2F;

class DigitsTest : public RuntimeFixture {
 protected:
  static NpyArray Data(const std::string& name) {
    return Must(ReadNpyFile(fmt::format("{}/models/digits/{}", NRTD_SOURCE_DIR, name)));
  }
  static float At(const NpyArray& array, size_t index) {
    return LoadAt<float>(array.data, index * sizeof(float));
  }

  // The largest difference from the reference for one image.
  float Distance(Inference& inference, size_t image) const {
    float distance = 0;
    for (size_t d = 0; d < kDigits; ++d) {
      const float difference = OutputOf(inference)[d] - At(reference_, image * kDigits + d);
      distance = std::max(distance, std::isnan(difference) ? INFINITY : std::fabs(difference));
    }
    return distance;
  }
  void Feed(Inference& inference, size_t image) const {
    const ByteSpan pixels(images_.data);
    std::ranges::copy(pixels.subspan(image * kPixels * sizeof(float), kPixels * sizeof(float)),
                      inference.input(0).begin());
  }

  const NpyArray images_ = Data("images.npy");
  const NpyArray reference_ = Data("reference_output.npy");
};

TEST_F(DigitsTest, TheAnswersAreThoseOfTheReference) {
  const auto network = Must(runtime_.Find(Load(DigitsNeff())));
  EXPECT_EQ(network->inputs()[0].name, "input:0");
  EXPECT_EQ(network->outputs()[0].name, "output:0");
  for (size_t image = 0; image < 360; ++image) {
    Inference inference = Must(network->Begin());
    Feed(inference, image);
    Must(inference.Submit(image % 2 == 0 ? Completion::kPolled : Completion::kInterrupt));
    ASSERT_EQ(inference.Wait().code, Nerr::kOk);
    ASSERT_LE(Distance(inference, image), kTolerance) << image;
  }
}

TEST_F(DigitsTest, FourReplicasWorkAtOnce) {
  std::vector<std::shared_ptr<Network>> networks;
  for (int i = 0; i < 4; ++i) networks.push_back(Must(runtime_.Find(Load(DigitsNeff()))));
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t image = t; image < 360; image += 4) {
        Inference inference = Must(networks[t]->Begin());
        Feed(inference, image);
        Must(inference.Submit(Completion::kPolled));
        if (inference.Wait().code != Nerr::kOk || Distance(inference, image) > kTolerance) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(DigitsTest, WeightsAreGivenBack) {
  const NetworkId id = Load(DigitsNeff());
  EXPECT_GT(UsageOf(runtime_.machine()).dram, idle_.dram);
  Must(runtime_.Unload(id));
  EXPECT_EQ(UsageOf(runtime_.machine()), idle_);
}

}  // namespace
}  // namespace nrtd::runtime
