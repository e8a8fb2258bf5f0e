// SPDX-License-Identifier: Apache-2.0
#include <thread>

#include "test/integration/daemon_test.h"

namespace nrtd::integration {
namespace {

class AsyncTest : public DaemonTest {
 protected:
  nrt::infer_request Image(uint32_t network, size_t i) {
    return InferRequest(network, digits().Input(i % digits().size()));
  }
  bool IsImage(const nrt::infer_response& response, size_t i) {
    return response.status().code() == 0 && response.ofmap_size() == 1 &&
           RelativeError(FloatsOf(response.ofmap(0).buf()), digits().references[i]) <= 1e-5;
  }
};

TEST_F(AsyncTest, APostedInferenceIsWaitedForOnce) {
  const uint32_t network = Load({.neff = digits_neff()});
  const auto posted = client().Post(Image(network, 7));
  ASSERT_THAT(posted, IsOk());
  EXPECT_NE(posted.cookie(), 0U);
  EXPECT_TRUE(IsImage(client().Wait(posted.cookie()), 7));
  EXPECT_THAT(client().Wait(posted.cookie()), HasStatus(3, fmt::to_string(posted.cookie())));
  EXPECT_THAT(client().Poll(posted.cookie()), HasStatus(3, fmt::to_string(posted.cookie())));
}

TEST_F(AsyncTest, APollSaysPendingUntilItIsDoneAndThenOnceMore) {
  constexpr uint32_t kInFlight = 4;
  const uint32_t network = Load({.neff = SlowNeff(), .ninfer = kInFlight, .timeout_s = 60});
  std::vector<uint64_t> cookies;
  for (uint32_t i = 0; i < kInFlight; ++i) {
    const std::string x =
        BytesOf(std::vector<float>(kSlowSide * kSlowSide, static_cast<float>(i + 1)));
    const auto posted = client().Post(InferRequest(network, {{"x", x}}));
    ASSERT_THAT(posted, IsOk());
    cookies.push_back(posted.cookie());
  }
  // Three others are before it.
  EXPECT_THAT(client().Poll(cookies.back()), HasStatus(1000, ""));
  nrt::infer_response last;
  Await("the last inference", [&] {
    last = client().Poll(cookies.back());
    return last.status().code() != 1000;
  });
  ASSERT_THAT(last, IsOk());
  EXPECT_EQ(FloatsOf(last.ofmap(0).buf()).front(), static_cast<float>(kInFlight));
  EXPECT_THAT(client().Poll(cookies.back()), HasStatus(3, ""));
  // Completion order is submission order: the others are done.
  for (uint32_t i = 0; i + 1 < kInFlight; ++i) {
    const auto response = client().Poll(cookies[i]);
    ASSERT_THAT(response, IsOk());
    EXPECT_EQ(FloatsOf(response.ofmap(0).buf()).back(), static_cast<float>(i + 1));
  }
}

TEST_F(AsyncTest, AStreamAnswersEveryRequestInOrder) {
  constexpr size_t kRequests = 40;
  constexpr size_t kWrong = 7;
  const uint32_t network = Load({.neff = digits_neff()});
  std::vector<nrt::infer_request> requests;
  for (size_t i = 0; i < kRequests; ++i)
    requests.push_back(i == kWrong ? InferRequest(network, {}) : Image(network, i));
  const auto responses = client().InferStream(requests);
  ASSERT_EQ(responses.size(), kRequests);
  for (size_t i = 0; i < kRequests; ++i) {
    if (i == kWrong) {
      EXPECT_THAT(responses[i], HasStatus(2, "ifmaps"));
    } else {
      EXPECT_TRUE(IsImage(responses[i], i)) << i;
    }
  }
  EXPECT_TRUE(client().InferStream({}).empty());
}

TEST_F(AsyncTest, CheckingManyCookiesNamesThoseThatAreDone) {
  constexpr uint32_t kInFlight = 4;
  const uint32_t network = Load({.neff = SlowNeff(), .ninfer = kInFlight, .timeout_s = 60});
  const std::string x = BytesOf(std::vector<float>(kSlowSide * kSlowSide, 1));
  std::vector<uint64_t> cookies;
  for (uint32_t i = 0; i < kInFlight; ++i) {
    const auto posted = client().Post(InferRequest(network, {{"x", x}}));
    ASSERT_THAT(posted, IsOk());
    cookies.push_back(posted.cookie());
  }
  const auto at_once = client().CheckCompletion(cookies);
  ASSERT_THAT(at_once, IsOk());
  EXPECT_LT(at_once.cookie_size(), static_cast<int>(kInFlight));
  Await("all inferences", [&] {
    return client().CheckCompletion(cookies).cookie_size() == static_cast<int>(kInFlight);
  });
  // Looking uses nothing up.
  EXPECT_THAT(client().Wait(cookies[2]), IsOk());
  const auto rest = client().CheckCompletion(cookies);
  EXPECT_THAT(rest, HasStatus(3, fmt::to_string(cookies[2])));
  EXPECT_EQ(std::vector<uint64_t>(rest.cookie().begin(), rest.cookie().end()),
            (std::vector<uint64_t>{cookies[0], cookies[1], cookies[3]}));
  EXPECT_THAT(client().CheckCompletion({}), IsOk());
}

TEST_F(AsyncTest, EverySlotIsUsedBeforeTheQueueIsFull) {
  constexpr uint32_t kNinfer = 3;
  const uint32_t network = Load({.neff = digits_neff(), .ninfer = kNinfer});
  // A slot is taken until its outputs are collected.
  for (int round = 0; round < 3; ++round) {
    std::vector<uint64_t> cookies;
    for (uint32_t i = 0; i < kNinfer; ++i) {
      const auto posted = client().Post(Image(network, i));
      ASSERT_THAT(posted, IsOk()) << "slot " << i;
      cookies.push_back(posted.cookie());
    }
    EXPECT_EQ(client().ListNetworks().networks(0).slots_in_use(), kNinfer);
    EXPECT_THAT(client().Post(Image(network, 0)), HasStatus(7, "ninfer"));
    EXPECT_THAT(client().Infer(Image(network, 0)), HasStatus(7, "ninfer"));
    // One back, one more.
    EXPECT_TRUE(IsImage(client().Wait(cookies[1]), 1));
    EXPECT_TRUE(IsImage(client().Infer(Image(network, 9)), 9));
    const auto again = client().Post(Image(network, 5));
    ASSERT_THAT(again, IsOk());
    EXPECT_THAT(client().Post(Image(network, 0)), HasStatus(7, ""));
    EXPECT_TRUE(IsImage(client().Wait(cookies[0]), 0));
    EXPECT_TRUE(IsImage(client().Wait(cookies[2]), 2));
    EXPECT_TRUE(IsImage(client().Wait(again.cookie()), 5));
    EXPECT_EQ(client().ListNetworks().networks(0).slots_in_use(), 0U);
  }
}

TEST_F(AsyncTest, WithoutNinferThereAreFourSlots) {
  const uint32_t network = Load({.neff = digits_neff()});
  for (int i = 0; i < 4; ++i) ASSERT_THAT(client().Post(Image(network, 0)), IsOk());
  EXPECT_THAT(client().Post(Image(network, 0)), HasStatus(7, ""));
}

TEST_F(AsyncTest, InferencesThatNobodyWaitsForDoNotHoldAnUnload) {
  const Usage before = ReadUsage(client());
  for (const std::string& neff : {digits_neff(), SlowNeff()}) {
    const bool slow = neff != digits_neff();
    const uint32_t network = Load({.neff = neff, .ninfer = 3, .timeout_s = 60});
    const auto request = slow ? SlowInput(network) : Image(network, 0);
    std::vector<uint64_t> cookies;
    for (int i = 0; i < 3; ++i) cookies.push_back(client().Post(request).cookie());
    EXPECT_THAT(client().Unload(network), IsOk());
    for (const uint64_t cookie : cookies) EXPECT_THAT(client().Wait(cookie), HasStatus(3, ""));
    EXPECT_EQ(ReadUsage(client()), before);
  }
}

TEST_F(AsyncTest, AStopWaitsForWhatIsInFlightAndItsOutputsCanStillBeCollected) {
  const uint32_t group = client().CreateGroup(1).h_eg().id();
  const uint32_t network = Load({.neff = SlowNeff(), .group = group, .ninfer = 2, .timeout_s = 60});
  ASSERT_THAT(client().Start(network), IsOk());
  const std::string x = BytesOf(std::vector<float>(kSlowSide * kSlowSide, 3.0F));
  const auto first = client().Post(InferRequest(network, {{"x", x}}));
  const auto second = client().Post(InferRequest(network, {{"x", x}}));
  ASSERT_THAT(client().Stop(network), IsOk());
  for (const uint64_t cookie : {first.cookie(), second.cookie()}) {
    const auto response = client().Poll(cookie);
    ASSERT_THAT(response, IsOk());
    EXPECT_EQ(response.ofmap(0).buf(), x);
  }
}

TEST_F(AsyncTest, FourClientsPostAndWaitAtOnce) {
  constexpr size_t kThreads = 4;
  constexpr size_t kRounds = 100;
  const uint32_t network = Load({.neff = digits_neff(), .ninfer = 2 * kThreads});
  std::vector<size_t> right(kThreads, 0);
  std::vector<std::thread> threads;
  digits();  // before the threads share it
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      RtdClient own(address());
      for (size_t round = 0; round < kRounds; ++round) {
        const size_t i = (t * 90 + round) % digits().size();
        const size_t j = (i + 1) % digits().size();
        const auto first = own.Post(Image(network, i));
        const auto second = own.Post(Image(network, j));
        // The later one first: order of collecting is the client's.
        if (IsImage(own.Wait(second.cookie()), j) && IsImage(own.Wait(first.cookie()), i))
          ++right[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(right, ::testing::Each(kRounds));
  const v1::Network described = client().ListNetworks().networks(0);
  EXPECT_EQ(described.inferences_done(), 2 * kThreads * kRounds);
  EXPECT_EQ(described.inferences_failed(), 0U);
  EXPECT_EQ(described.slots_in_use(), 0U);
}

}  // namespace
}  // namespace nrtd::integration
