// SPDX-License-Identifier: Apache-2.0
//
// Networks with nodes that the host runs.
#include <cmath>
#include <cstring>
#include <thread>

#include <gmock/gmock.h>

#include "test/must.h"
#include "test/runtime/neff_builder.h"
#include "test/runtime/runtime_fixture.h"

namespace nrtd::runtime {
namespace {

using testing::HasSubstr;

class HostNodeTest : public RuntimeFixture {
 protected:
  struct Answer {
    scheduler::InferenceOutcome outcome;
    int64_t chosen = -1;
    std::vector<float> y;
  };
  Answer Infer(Network& network, const std::vector<float>& x, Completion completion) {
    Inference inference = Must(network.Begin());
    std::memcpy(inference.input(0).data(), x.data(), x.size() * sizeof(float));
    Must(inference.Submit(completion));
    Answer answer;
    answer.outcome = inference.Wait();
    const size_t y = network.outputs().size() - 1;
    if (y == 1) std::memcpy(&answer.chosen, inference.output(0).data(), sizeof(answer.chosen));
    answer.y.resize(inference.output(y).size() / sizeof(float));
    std::memcpy(answer.y.data(), inference.output(y).data(), inference.output(y).size());
    return answer;
  }
};

TEST_F(HostNodeTest, TheyRunBeforeBetweenAndBehindCores) {
  for (const size_t stages : {1, 3}) {
    const auto network = Must(runtime_.Find(Load(NeffBytes(HostedContents(stages)))));
    for (const Completion completion : {Completion::kPolled, Completion::kInterrupt}) {
      const Answer answer = Infer(*network, {1, -2, 7, 3}, completion);
      EXPECT_EQ(answer.outcome.code, Nerr::kOk) << answer.outcome.detail;
      EXPECT_EQ(answer.chosen, 2);
      EXPECT_EQ(answer.y[0], Doubled(1, stages));
      EXPECT_EQ(answer.y[2], Doubled(7, stages));
      EXPECT_GT(answer.outcome.device_ns, 0U);
    }
    Must(runtime_.Unload(network->info().id));
  }
}

TEST_F(HostNodeTest, ANetworkOfThemAloneTakesNoCore) {
  const auto all = Must(runtime_.CreateGroup(4));
  const NetworkId id = Load(NeffBytes(HostOnlyContents()));
  {
    const auto network = Must(runtime_.Find(id));
    EXPECT_EQ(network->stages().size(), 0U);
    const Answer answer = Infer(*network, {1, 2, 3, 4, 5, 6}, Completion::kPolled);
    EXPECT_EQ(answer.outcome.code, Nerr::kOk);
    EXPECT_EQ(answer.y, (std::vector<float>{1, 4, 2, 5, 3, 6}));
  }
  Must(runtime_.Unload(id));
  EXPECT_EQ(UsageOf(runtime_.machine()), idle_);
  Must(runtime_.DestroyGroup(all.id));
}

TEST_F(HostNodeTest, NanInWhatTheyAnswerIsANumericalError) {
  const auto network = Must(runtime_.Find(Load(NeffBytes(HostOnlyContents()))));
  const Answer answer = Infer(*network, {1, 2, std::nanf(""), 4, 5, 6}, Completion::kPolled);
  EXPECT_EQ(answer.outcome.code, Nerr::kInferCompletedWithNumErr);
  EXPECT_THAT(answer.outcome.detail, HasSubstr("host node 'turn': INFER_ERROR_SUBTYPE_NUMERICAL"));
  EXPECT_EQ(answer.y[1], 4);
}

TEST_F(HostNodeTest, ManyInFlightKeepTheirOwnAnswers) {
  LoadRequest request;
  request.neff = NeffBytes(HostedContents(2));
  request.ninfer = 8;
  const auto network = Must(runtime_.Find(Must(runtime_.Load(std::move(request)))));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const auto value = static_cast<float>(t * 1000 + i);
        const Answer answer = Infer(*network, {value, 0, 0, 0},
                                    i % 2 == 0 ? Completion::kPolled : Completion::kInterrupt);
        ASSERT_EQ(answer.outcome.code, Nerr::kOk) << answer.outcome.detail;
        ASSERT_EQ(answer.y[0], Doubled(value, 2));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(network->inferences_done(), 800U);
}

// Nobody collects them, and the network goes.
TEST_F(HostNodeTest, AnUnloadWaitsForThem) {
  const NetworkId id = Load(NeffBytes(HostedContents(1)));
  {
    const auto network = Must(runtime_.Find(id));
    for (int i = 0; i < 3; ++i) {
      Inference inference = Must(network->Begin());
      Must(inference.Submit(Completion::kInterrupt));
      runtime_.cookies().Add(std::move(inference));
    }
  }
  Must(runtime_.Unload(id));
  EXPECT_EQ(UsageOf(runtime_.machine()), idle_);
}

}  // namespace
}  // namespace nrtd::runtime
