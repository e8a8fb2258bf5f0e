// SPDX-License-Identifier: Apache-2.0
//
// However many calls wait, they hold no threads, and other clients are served meanwhile.
#include <sys/mman.h>

#include "base/sanitized.h"
#include "test/hostile/hostile_test.h"
#include "test/memory/client_shm.h"

namespace nrtd::hostile {
namespace {

using integration::PendingCall;

// Far below the pids limit, and below the number of calls in these tests: what cores, the daemon's
// own work and a few calls take.
constexpr size_t kMaxThreads = 160;

class ThreadsTest : public HostileTest {
 protected:
  // One inference that runs for seconds, and has a day for it.
  uint32_t LoadBusyNetwork() {
    const uint32_t network =
        Load({.neff = integration::EndlessNeff(), .ninfer = 4, .timeout_s = 86'400});
    EXPECT_THAT(client().Post(integration::SlowInput(network)), IsOk());
    return network;
  }
  // The limit of calls would end this before threads are short.
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "a sanitizer's own memory counts too";
    HostileTest::SetUp();
    if (IsSkipped()) return;
    EXPECT_EQ(daemon_->Stop(), 0);
    StartLimited({"--client-limit", "calls=1100", "--call-rate", "0"});
  }

  // Clients of `connections` connections ask for the same 250 times each.
  template <typename Begin>
  void BeginCalls(int connections, Begin begin) {
    for (int i = 0; i < connections; ++i) {
      clients_.push_back(std::make_unique<RtdClient>(address()));
      for (int k = 0; k < 250; ++k) calls_.push_back(begin(*clients_.back()));
    }
  }
  // While another client's network answers.
  void ExpectServedWithFewThreads(uint32_t network) {
    for (int i = 0; i < 200; ++i) {
      ExpectReads(network);
      ASSERT_LT(daemon().Threads(), kMaxThreads);
    }
  }

  std::vector<std::unique_ptr<RtdClient>> clients_;
  std::vector<std::unique_ptr<PendingCall>> calls_;  // go first
};

TEST_F(ThreadsTest, AThousandUnloadsOfABusyNetworkHoldNoThreads) {
  const uint32_t own = Load({.neff = digits_neff()});
  const uint32_t busy = LoadBusyNetwork();
  BeginCalls(4, [&](RtdClient& who) { return who.BeginUnload(busy); });
  ExpectServedWithFewThreads(own);
}

TEST_F(ThreadsTest, AThousandInferencesOfABusyNetworkHoldNoThreads) {
  const uint32_t own = Load({.neff = digits_neff()});
  const uint32_t busy = LoadBusyNetwork();
  // By shared memory: a slow machine would have more arriving than a client may otherwise.
  const memory::ClientShm input(integration::SlowInput(busy).ifmap(0).buf().size());
  nrt::shm_map_request map;
  map.set_path(input.name());
  map.set_mmap_prot(PROT_READ | PROT_WRITE);
  ASSERT_THAT(client().Map(map), IsOk());
  nrt::infer_request request;
  request.mutable_h_nn()->set_id(busy);
  *request.add_ifmap() = integration::SharedTensor("x", input.name());
  BeginCalls(4, [&](RtdClient& who) { return who.BeginInfer(request); });
  ExpectServedWithFewThreads(own);
}

}  // namespace
}  // namespace nrtd::hostile
