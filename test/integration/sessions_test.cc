// SPDX-License-Identifier: Apache-2.0
#include <csignal>
#include <thread>

#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "test/integration/client_process.h"
#include "test/integration/daemon_test.h"
#include "test/memory/client_shm.h"

namespace nrtd::integration {
namespace {

nrt::session_monitor_request PluginRequest() {
  nrt::session_monitor_request request;
  request.set_framework_name("tensorflow");
  request.mutable_framework_version()->set_full_version("1.15.5");
  request.mutable_framework_version()->set_major_num(1);
  request.mutable_framework_version()->set_minor_num(15);
  request.mutable_fal_version()->set_full_version("1.2.3.0");
  return request;
}

class SessionsTest : public DaemonTest {
 protected:
  nrt::shm_map_response Map(const std::string& path, uint64_t session) {
    nrt::shm_map_request request;
    request.set_path(path);
    request.set_mmap_prot(PROT_READ | PROT_WRITE);
    request.set_session_id(session);
    return client().Map(request);
  }
  // Maps of this shared memory that the daemon holds.
  size_t MapsOf(const std::string& name) {
    const std::string maps = Must(ReadTextFile(fmt::format("/proc/{}/maps", daemon().pid())));
    size_t count = 0;
    for (size_t at = maps.find(name); at != std::string::npos; at = maps.find(name, at + 1))
      ++count;
    return count;
  }
  void AwaitUsage(const Usage& usage) {
    Await("everything to be freed", [&] { return ReadUsage(client()) == usage; });
    EXPECT_EQ(ReadUsage(client()), usage);
  }

  // A session with a slow network of its own that has all its slots in flight.
  struct BusySession {
    std::unique_ptr<SessionStream> stream;
    uint32_t network = 0;
  };
  void Open(BusySession* busy) {
    busy->stream = client().OpenSession();
    const uint64_t session = busy->stream->Read().session_id();
    const uint32_t group = client().CreateGroup(1, session).h_eg().id();
    busy->network = Load(
        {.neff = SlowNeff(), .group = group, .session = session, .ninfer = 4, .timeout_s = 60});
    ASSERT_THAT(client().Start(busy->network), IsOk());
    for (int i = 0; i < 4; ++i) ASSERT_THAT(client().Post(SlowInput(busy->network)), IsOk());
  }
};

TEST_F(SessionsTest, TheProbeReadsBeforeItWritesAnything) {
  const auto probe = client().OpenSession();
  const auto answer = probe->Read();
  EXPECT_NE(answer.session_id(), 0U);
  EXPECT_EQ(answer.runtime_version().major_num(), 1U);
  EXPECT_FALSE(answer.runtime_version().full_version().empty());
  probe->WritesDone();
  EXPECT_TRUE(probe->AtEnd());
  EXPECT_EQ(probe->Finish(), 0);
  Await("the end of the session", [&] { return client().ListSessions().sessions().empty(); });
}

TEST_F(SessionsTest, TheRealStreamIsAnsweredOnceAndKept) {
  const auto first = client().OpenSession();
  first->Write(PluginRequest());
  const uint64_t id = first->Read().session_id();
  const auto second = client().OpenSession();
  EXPECT_NE(second->Read().session_id(), id);
  Await("what the client said of itself", [&] {
    const auto sessions = client().ListSessions();
    return sessions.sessions_size() == 2 && !sessions.sessions(0).framework_name().empty();
  });
  const v1::Session session = client().ListSessions().sessions(0);
  EXPECT_EQ(session.id(), id);
  EXPECT_EQ(session.framework_name(), "tensorflow");
  EXPECT_EQ(session.framework_version().full_version(), "1.15.5");
  EXPECT_EQ(session.fal_version().full_version(), "1.2.3.0");
  first->WritesDone();
  EXPECT_TRUE(first->AtEnd());  // one answer to one request, and none besides
  EXPECT_EQ(first->Finish(), 0);
}

TEST_F(SessionsTest, WhatWasMadeUnderASessionGoesWithItsStreamAndNothingElseDoes) {
  const uint32_t others = Load({.neff = digits_neff()});
  const Usage before = ReadUsage(client());
  memory::ClientShm shm(4096);
  for (const bool politely : {true, false}) {
    auto stream = client().OpenSession();
    stream->Write(PluginRequest());
    const uint64_t session = stream->Read().session_id();
    const auto group = client().CreateGroup(2, session);
    ASSERT_THAT(group, IsOk());
    const uint32_t explicit_one =
        Load({.neff = digits_neff(), .group = group.h_eg().id(), .session = session});
    ASSERT_THAT(client().Start(explicit_one), IsOk());
    const uint32_t implicit_one = Load({.neff = digits_neff(), .session = session});
    ASSERT_THAT(Map(shm.name(), session), IsOk());
    EXPECT_EQ(MapsOf(shm.name()), 1U);
    ASSERT_THAT(client().Post(InferRequest(implicit_one, digits().Input(0))), IsOk());
    EXPECT_NE(ReadUsage(client()), before);
    const v1::Session listed = client().ListSessions().sessions(0);
    EXPECT_THAT(listed.network_ids(), ::testing::ElementsAre(explicit_one, implicit_one));
    EXPECT_EQ(listed.group_ids_size(), 2);
    EXPECT_THAT(listed.mappings(), ::testing::ElementsAre(shm.name()));
    if (politely) {
      stream->WritesDone();
      EXPECT_EQ(stream->Finish(), 0);
    }
    stream.reset();
    AwaitUsage(before);
    Await("the end of the mapping", [&] { return MapsOf(shm.name()) == 0; });
    EXPECT_THAT(client().Infer(InferRequest(explicit_one, digits().Input(0))),
                HasStatus(3, fmt::format("Failed to find model: {}", explicit_one)));
    ExpectReads(others);
  }
}

TEST_F(SessionsTest, AClientThatIsKilledKeepsNothing) {
  WriteText(File("digits.neff"), digits_neff());
  WriteText(File("slow.neff"), SlowNeff());
  const uint32_t others = Load({.neff = digits_neff()});
  const Usage before = ReadUsage(client());
  // With nothing, and with much, in flight.
  for (const char* neff : {"digits.neff", "slow.neff"}) {
    memory::ClientShm shm(4096);
    ClientProcess process(address(), File(neff), shm.name());
    const uint64_t session = process.AwaitReady().session;
    ASSERT_NE(session, 0U);
    EXPECT_EQ(ReadUsage(client()).networks, before.networks + 1);
    EXPECT_EQ(ReadUsage(client()).groups, before.groups + 2);
    EXPECT_EQ(MapsOf(shm.name()), 1U);
    process.Kill();
    AwaitUsage(before);
    Await("the end of the mapping", [&] { return MapsOf(shm.name()) == 0; });
    Await("the end of the session", [&] { return client().ListSessions().sessions().empty(); });
    ExpectReads(others);
  }
}

// The client dies while another of its calls is still being served.
TEST_F(SessionsTest, ASessionThatEndsWhileItsNetworkStopsLeavesNothing) {
  const Usage before = ReadUsage(client());
  BusySession busy;
  ASSERT_NO_FATAL_FAILURE(Open(&busy));
  std::thread stopper([&] { RtdClient(address()).Stop(busy.network); });
  Await("the stop",
        [&] { return client().ListNetworks().networks(0).state() == v1::NETWORK_STATE_STOPPING; });
  busy.stream.reset();
  stopper.join();
  AwaitUsage(before);
}

TEST_F(SessionsTest, ASessionThatEndsWhileItsNetworkIsUnloadedLeavesNothing) {
  const Usage before = ReadUsage(client());
  BusySession busy;
  ASSERT_NO_FATAL_FAILURE(Open(&busy));
  std::thread unloader([&] { RtdClient(address()).Unload(busy.network); });
  Await("the unload", [&] {
    const auto networks = client().ListNetworks();
    return networks.networks_size() == 1 &&
           networks.networks(0).state() != v1::NETWORK_STATE_RUNNING;
  });
  busy.stream.reset();
  unloader.join();
  AwaitUsage(before);
}

TEST_F(SessionsTest, ASessionThatEndsWhileItLoadsLeavesNothing) {
  const Usage before = ReadUsage(client());
  const std::string neff = SlowNeff();
  for (int round = 0; round < 10; ++round) {
    auto stream = client().OpenSession();
    const uint64_t session = stream->Read().session_id();
    const uint32_t group = client().CreateGroup(1, session).h_eg().id();
    std::thread loader([&] {
      RtdClient(address()).Load(LoadMessages({.neff = neff, .group = group, .session = session}));
    });
    // The load takes DRAM first of all; it may also be over already.
    Await("the load", [&] { return ReadUsage(client()).dram_bytes > before.dram_bytes; });
    stream.reset();
    loader.join();
    AwaitUsage(before);
  }
}

TEST_F(SessionsTest, ManySessionsAtOnceAreToldApart) {
  std::vector<std::unique_ptr<SessionStream>> streams;
  std::vector<uint64_t> ids;
  for (int i = 0; i < 50; ++i) {
    streams.push_back(client().OpenSession());
    ids.push_back(streams.back()->Read().session_id());
  }
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::unique(ids.begin(), ids.end()), ids.end());
  EXPECT_EQ(client().ListSessions().sessions_size(), 50);
  for (auto& stream : streams) {
    stream->WritesDone();
    EXPECT_EQ(stream->Finish(), 0);
  }
  Await("the end of the sessions", [&] { return client().ListSessions().sessions().empty(); });
}

TEST_F(SessionsTest, TheDaemonStopsWhileASessionIsOpen) {
  const auto stream = client().OpenSession();
  const uint64_t session = stream->Read().session_id();
  Load({.neff = digits_neff(), .session = session});
  // TearDown stops the daemon; `stream` lives until then.
  EXPECT_EQ(daemon().Stop(), 0);
  EXPECT_TRUE(stream->AtEnd());
  daemon_.reset();
}

}  // namespace
}  // namespace nrtd::integration
