// SPDX-License-Identifier: Apache-2.0
#include "test/integration/daemon_test.h"

namespace nrtd::integration {
namespace {

class DigitsTest : public DaemonTest {
 protected:
  std::vector<float> Read(uint32_t network, size_t image) {
    const auto response = client().Infer(InferRequest(network, digits().Input(image)));
    EXPECT_THAT(response, IsOk());
    if (response.ofmap_size() != 1) return {};
    EXPECT_EQ(response.ofmap(0).name(), "output:0");
    return FloatsOf(response.ofmap(0).buf());
  }
};

// The measure: for each image the largest difference to ONNX Runtime's row of 10 probabilities,
// relative to the largest magnitude of that row.
TEST_F(DigitsTest, StreamedAndWithoutCastsAllOutputsEqualTheReference) {
  LoadParts parts{.neff = digits_neff()};
  parts.session = client().OpenSession()->Read().session_id();
  // That session has ended with its stream: its id must be refused, not taken for no session.
  Await("the end of the session", [&] { return client().ListSessions().sessions().empty(); });
  EXPECT_THAT(client().Load(LoadMessages(parts)), HasStatus(3, "session"));

  const auto session = client().OpenSession();
  parts.session = session->Read().session_id();
  parts.ninfer = 5;
  parts.timeout_s = 10;
  const uint32_t network = Load(parts);
  ASSERT_EQ(network, 10001U);
  double worst = 0;
  for (size_t i = 0; i < digits().size(); ++i)
    worst = std::max(worst, RelativeError(Read(network, i), digits().references[i]));
  EXPECT_EQ(digits().size(), 360U);
  EXPECT_LE(worst, 1e-5);
  EXPECT_THAT(client().Unload(network), IsOk());
}

TEST_F(DigitsTest, LoadedFromAFileAndWithTheDefaultCastEveryClassIsTheReferences) {
  WriteText(File("digits.neff"), CompileDigits(compiler::Fp32Cast::kAll));
  const auto loaded = client().Load(LoadFileMessages(File("digits.neff")));
  ASSERT_THAT(loaded, IsOk());
  size_t right = 0;
  double worst = 0;
  for (size_t i = 0; i < digits().size(); ++i) {
    const std::vector<float> output = Read(loaded.h_nn().id(), i);
    EXPECT_EQ(ArgMax(output), ArgMax(digits().references[i])) << "image " << i;
    worst = std::max(worst, RelativeError(output, digits().references[i]));
    if (static_cast<int64_t>(ArgMax(output)) == digits().labels[i]) ++right;
  }
  EXPECT_GE(right, digits().size() * 95 / 100);
  // The cast was really made: bfloat16 has 8 significant bits.
  EXPECT_GT(worst, 1e-5);
}

TEST_F(DigitsTest, ANeffOfSeveralChunksComputesAsOneFromAFile) {
  const std::string neff = SlowNeff();
  ASSERT_GT(neff.size(), size_t{1} << 20);
  WriteText(File("slow.neff"), neff);
  const uint32_t streamed = Load({.neff = neff, .timeout_s = 60});
  const auto by_path = client().Load(LoadFileMessages(File("slow.neff"), {.timeout_s = 60}));
  ASSERT_THAT(by_path, IsOk());
  std::vector<float> x(kSlowSide * kSlowSide);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 977) - 400.0F;
  for (const uint32_t network : {streamed, by_path.h_nn().id()}) {
    const auto response = client().Infer(InferRequest(network, {{"x", BytesOf(x)}}));
    ASSERT_THAT(response, IsOk());
    // The identity, in float32: exact.
    EXPECT_EQ(FloatsOf(response.ofmap(0).buf()), x);
  }
}

TEST_F(DigitsTest, TheDefaultNumberOfHugePagesServesToo) {
  NRTD_REQUIRE_HUGE_PAGES(memory::kDefaultPagesPerDevice);
  client_.reset();
  ASSERT_EQ(daemon().Stop(), 0);
  daemon_ = std::make_unique<DaemonProcess>(
      std::vector<std::string>{"--sim", "inf1.xlarge", "-g", address(), "-x"});
  ASSERT_TRUE(daemon().AwaitLog("All 128 pages of 2 MiB are faulted in"));
  client_ = std::make_unique<RtdClient>(address());
  EXPECT_EQ(daemon().StatusBytes("HugetlbPages"),
            memory::kDefaultPagesPerDevice * memory::kHugePageSize);
  EXPECT_EQ(client().ListDevices().host_pool_total_bytes(),
            memory::kDefaultPagesPerDevice * memory::kHugePageSize);
  ExpectReads(Load({.neff = digits_neff()}));
}

}  // namespace
}  // namespace nrtd::integration
