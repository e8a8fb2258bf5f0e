// SPDX-License-Identifier: Apache-2.0
#include "runtime/metrics/metrics.h"

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nrtd::runtime {
namespace {

using testing::ElementsAre;
using namespace std::chrono_literals;

constexpr uint64_t kSecond = 1'000'000'000;

TEST(SampleRing, KeepsTheNewestInOrder) {
  SampleRing ring;
  EXPECT_TRUE(ring.Read().empty());
  for (size_t i = 0; i < SampleRing::kCapacity; ++i) ring.Add({i, static_cast<double>(i)});
  EXPECT_FALSE(ring.overflowed());
  EXPECT_EQ(ring.Read().size(), SampleRing::kCapacity);
  EXPECT_EQ(ring.Read().front().time_ns, 0U);
  for (size_t i = 0; i < 3; ++i)
    ring.Add({SampleRing::kCapacity + i, static_cast<double>(SampleRing::kCapacity + i)});
  EXPECT_TRUE(ring.overflowed());
  const auto read = ring.Read();
  ASSERT_EQ(read.size(), SampleRing::kCapacity);
  for (size_t i = 0; i < read.size(); ++i) ASSERT_EQ(read[i].time_ns, i + 3);
}

TEST(Summarize, MakesOneForEachPeriodThatHoldsSamples) {
  const auto summaries =
      Summarize({{10 * kSecond, 4}, {11 * kSecond, 1}, {19 * kSecond, 2}, {40 * kSecond, 7}}, 10s);
  ASSERT_EQ(summaries.size(), 2U);
  EXPECT_EQ(summaries[0].time_ns, 20 * kSecond);
  EXPECT_EQ(summaries[0].count, 3U);
  EXPECT_EQ(summaries[0].min, 1);
  EXPECT_EQ(summaries[0].max, 4);
  EXPECT_EQ(summaries[0].sum, 7);
  EXPECT_EQ(summaries[1].time_ns, 50 * kSecond);
  EXPECT_EQ(summaries[1].count, 1U);
  EXPECT_TRUE(Summarize({}, 10s).empty());
}

TEST(Summarize, PercentilesAreSamplesByNearestRank) {
  std::vector<Sample> samples;
  for (uint64_t i = 200; i > 0; --i) samples.push_back({5, static_cast<double>(i)});
  const auto summaries = Summarize(samples, 1s);
  ASSERT_EQ(summaries.size(), 1U);
  // 0, 1, 25, 50, 75, 99 and 100 percent of 200.
  EXPECT_THAT(summaries[0].values, ElementsAre(1, 2, 50, 100, 150, 198, 200));
  EXPECT_THAT(summaries[0].counts, ElementsAre(1, 2, 50, 100, 150, 198, 200));
}

TEST(Summarize, SamplesOutOfOrderDoNotSplitAPeriod) {
  const auto summaries = Summarize({{2 * kSecond, 1}, {1, 1}, {2 * kSecond + 1, 1}}, 1s);
  ASSERT_EQ(summaries.size(), 2U);
  EXPECT_EQ(summaries[0].count, 1U);
  EXPECT_EQ(summaries[1].count, 2U);
}

TEST(Metrics, EveryCodeIsCountedWhereItBelongs) {
  struct Row {
    Nerr code;
    InferStatus status;
    InferErrorSubtype subtype;
  };
  const Row rows[] = {
      {Nerr::kOk, InferStatus::kOk, InferErrorSubtype::kNone},
      {Nerr::kInferCompletedWithNumErr, InferStatus::kNumericalError,
       InferErrorSubtype::kNumerical},
      {Nerr::kInferCompletedWithErr, InferStatus::kError, InferErrorSubtype::kModel},
      {Nerr::kInvalid, InferStatus::kBadInput, InferErrorSubtype::kNone},
      {Nerr::kInferBadInput, InferStatus::kBadInput, InferErrorSubtype::kNone},
      {Nerr::kTimeout, InferStatus::kTimeout, InferErrorSubtype::kRuntime},
      {Nerr::kHwError, InferStatus::kUnknown, InferErrorSubtype::kHardware},
      {Nerr::kFailedState, InferStatus::kUnknown, InferErrorSubtype::kRuntime},
  };
  for (const Row& row : rows) {
    Metrics metrics;
    metrics.CountInference(row.code);
    const auto totals = metrics.totals();
    EXPECT_EQ(totals.by_status[static_cast<size_t>(row.status)], 1U);
    EXPECT_EQ(totals.by_subtype[static_cast<size_t>(row.subtype)], 1U);
    EXPECT_EQ(totals.inferences, 1U);
  }
  Metrics metrics;
  metrics.CountInference(Nerr::kQueueFull);
  EXPECT_EQ(metrics.totals().queue_drops, 1U);
  EXPECT_EQ(metrics.totals().inferences, 0U);
}

TEST(Metrics, TheRangeOfVersionsIsThatOfWhatWasLoaded) {
  Metrics metrics;
  EXPECT_EQ(metrics.neffs().major_min, 0U);
  metrics.CountLoad(1, 0, 500, 1, 1ms);
  metrics.CountLoad(0, 6, 900, 4, 1ms);
  metrics.CountLoad(1, 1, 100, 2, 1ms);
  const auto neffs = metrics.neffs();
  EXPECT_EQ(neffs.major_max, 1U);
  EXPECT_EQ(neffs.minor_max, 1U);
  EXPECT_EQ(neffs.major_min, 0U);
  EXPECT_EQ(neffs.minor_min, 6U);
  EXPECT_EQ(neffs.bytes_max, 900U);
  EXPECT_EQ(neffs.cores_max, 4U);
  EXPECT_EQ(metrics.totals().loads, 3U);
  EXPECT_EQ(metrics.samples(Metric::kLoadLatency).Read().size(), 3U);
}

TEST(Metrics, ManyRecordWhileSomebodyReads) {
  Metrics metrics;
  constexpr int kThreads = 4;
  constexpr int kEach = 3000;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) {
        metrics.Record(Metric::kInferLatency, 1);
        metrics.CountInference(Nerr::kOk);
      }
    });
  }
  uint64_t last = 0;
  while (last < kThreads * kEach) {
    const uint64_t now = metrics.totals().inferences;
    EXPECT_GE(now, last);
    last = now;
    for (const Sample& sample : metrics.samples(Metric::kInferLatency).Read())
      ASSERT_EQ(sample.value, 1);
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(metrics.samples(Metric::kInferLatency).overflowed());
}

}  // namespace
}  // namespace nrtd::runtime
