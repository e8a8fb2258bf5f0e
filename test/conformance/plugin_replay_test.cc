// SPDX-License-Identifier: Apache-2.0
//
// What the TensorFlow plugin of the 1.x era sends, in its order: the probe, the session, a group, a
// trial of shared memory, a load in chunks, an asynchronous start, inferences from eight threads
// through shared memory, and everything back.
#include <cstring>
#include <future>
#include <thread>

#include <sys/mman.h>

#include "test/integration/daemon_test.h"
#include "test/memory/client_shm.h"

namespace nrtd::integration {
namespace {

constexpr int kThreads = 8;
constexpr int kInferences = 25;  // of each thread

class PluginReplayTest : public DaemonTest {
 protected:
  // The plugin unlinks a file as soon as the daemon has answered.
  nrt::status MapAndUnlink(memory::ClientShm& shm, uint64_t session) {
    nrt::shm_map_request request;
    request.set_path(shm.name());
    request.set_mmap_prot(PROT_READ | PROT_WRITE);
    request.set_session_id(session);
    const nrt::status status = client().Map(request).status();
    shm.Unlink();
    return status;
  }

  // One thread of the application: a buffer of its own for the input and one for the output.
  void InferThroughSharedMemory(uint32_t network, uint64_t session, int thread) {
    memory::ClientShm input(digits().images[0].size());
    memory::ClientShm output(Digits::kClasses * sizeof(float));
    ASSERT_THAT(MapAndUnlink(input, session), IsOk());
    ASSERT_THAT(MapAndUnlink(output, session), IsOk());
    for (int i = 0; i < kInferences; ++i) {
      const size_t image = static_cast<size_t>(thread * kInferences + i) % digits().size();
      std::memcpy(input.data(), digits().images[image].data(), digits().images[image].size());
      nrt::infer_request request;
      request.mutable_h_nn()->set_id(network);
      *request.add_ifmap() = SharedTensor("input:0", input.name());
      *request.add_shm_ofmap() = SharedTensor("output:0", output.name());
      const auto posted = client().Post(request);
      ASSERT_THAT(posted, IsOk());
      nrt::infer_wait_request wait;
      wait.set_cookie(posted.cookie());
      *wait.add_shm_ofmap() = SharedTensor("output:0", output.name());
      const auto waited = client().Wait(wait);
      ASSERT_THAT(waited, IsOk());
      EXPECT_EQ(waited.ofmap_size(), 0);
      const std::string_view bytes(reinterpret_cast<const char*>(output.data()),
                                   Digits::kClasses * sizeof(float));
      EXPECT_LE(RelativeError(FloatsOf(bytes), digits().references[image]), 1e-5);
    }
    EXPECT_THAT(client().Unmap(input.name()), IsOk());
    EXPECT_THAT(client().Unmap(output.name()), IsOk());
  }
};

TEST_F(PluginReplayTest, ItsWholeLifeLeavesNothing) {
  const Usage before = ReadUsage(client());
  // The probe: reads before it has written anything, half-closes, waits for the status.
  const auto probe = client().OpenSession();
  EXPECT_NE(probe->Read().session_id(), 0U);
  probe->WritesDone();
  EXPECT_TRUE(probe->AtEnd());
  EXPECT_EQ(probe->Finish(), 0);

  const auto stream = client().OpenSession();
  nrt::session_monitor_request hello;
  hello.set_framework_name("tensorflow");
  hello.mutable_framework_version()->set_full_version("1.15.5");
  stream->Write(hello);
  const auto answer = stream->Read();
  const uint64_t session = answer.session_id();
  ASSERT_NE(session, 0U);
  EXPECT_EQ(answer.runtime_version().major_num(), 1U);

  const auto group = client().CreateGroup(4, session);
  ASSERT_THAT(group, IsOk());
  EXPECT_EQ(group.nc_count(), 4U);

  // Does shared memory work here at all?
  memory::ClientShm trial(16);
  ASSERT_THAT(MapAndUnlink(trial, session), IsOk());
  ASSERT_THAT(client().Unmap(trial.name()), IsOk());

  // ninfer as the plugin asks for it, one more than it has NeuronCores, but for its threads.
  const auto loaded = client().Load(LoadMessages({.neff = digits_neff(),
                                                  .group = group.h_eg().id(),
                                                  .session = session,
                                                  .ninfer = kThreads,
                                                  .timeout_s = 10}));
  ASSERT_THAT(loaded, IsOk());
  const uint32_t network = loaded.h_nn().id();
  EXPECT_GE(network, 10'001U);
  auto started = std::async(std::launch::async, [&] { return client().Start(network); });
  ASSERT_THAT(started.get(), IsOk());

  (void)digits();
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] { InferThroughSharedMemory(network, session, t); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(client().ListNetworks().networks(0).inferences_done(),
            static_cast<uint64_t>(kThreads * kInferences));

  EXPECT_THAT(client().Stop(network), IsOk());
  EXPECT_THAT(client().Unload(network), IsOk());
  EXPECT_THAT(client().DestroyGroup(group.h_eg().id()), IsOk());
  stream->WritesDone();
  EXPECT_EQ(stream->Finish(), 0);
  Await("everything to be freed", [&] { return ReadUsage(client()) == before; });
}

}  // namespace
}  // namespace nrtd::integration
