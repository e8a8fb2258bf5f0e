// SPDX-License-Identifier: Apache-2.0
//
// The daemon keeps the deadlines of inferences, whether or not a client waits for them.
#include "test/hostile/hostile_test.h"
#include "test/memory/client_shm.h"

namespace nrtd::hostile {
namespace {

using integration::BytesOf;
using integration::InferRequest;

TEST_F(HostileTest, APostedInferenceThatNobodyWaitsForEndsAtItsDeadline) {
  const uint32_t network = Load({.neff = integration::EndlessNeff(), .ninfer = 1, .timeout_s = 1});
  const auto posted = client().Post(integration::SlowInput(network));
  ASSERT_THAT(posted, IsOk());
  // No call asks for it; only its deadline can end it.
  EXPECT_TRUE(daemon().AwaitLog("an inference took longer than its timeout of 1 s"));
  EXPECT_THAT(client().Wait(posted.cookie()), HasStatus(5, "timeout of 1 s"));
  EXPECT_THAT(client().Unload(network), IsOk());
}

TEST_F(HostileTest, AWaitWithAWrongOutputNameKeepsTheCookie) {
  const uint32_t network = Load({.neff = digits_neff()});
  const auto posted = client().Post(InferRequest(network, digits().Input(3)));
  ASSERT_THAT(posted, IsOk());
  nrt::infer_wait_request wait;
  wait.set_cookie(posted.cookie());
  *wait.add_shm_ofmap() = integration::SharedTensor("no such output", "/not-mapped");
  EXPECT_THAT(client().Wait(wait), HasStatus(2, "no such output"));
  wait.mutable_shm_ofmap(0)->set_name("output:0");
  EXPECT_THAT(client().Wait(wait), HasStatus(1002, "/not-mapped"));
  const auto answer = client().Wait(posted.cookie());
  ASSERT_THAT(answer, IsOk());
  EXPECT_LE(integration::RelativeError(integration::FloatsOf(answer.ofmap(0).buf()),
                                       digits().references[3]),
            1e-5);
  EXPECT_THAT(client().Wait(posted.cookie()), HasStatus(3, "used once"));
}

}  // namespace
}  // namespace nrtd::hostile
