// SPDX-License-Identifier: Apache-2.0
//
// Mappings and cookies have an owner, a limit, and go with their owner.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "test/hostile/child.h"
#include "test/hostile/hostile_test.h"
#include "test/hostile/sparse_memory.h"

namespace nrtd::hostile {
namespace {

nrt::shm_map_request MapRequest(const std::string& path, uint64_t session = 0) {
  nrt::shm_map_request request;
  request.set_path(path);
  request.set_mmap_prot(PROT_READ | PROT_WRITE);
  request.set_session_id(session);
  return request;
}

class MappingsTest : public HostileTest {
 protected:
  size_t Maps() const {
    const auto maps = ReadTextFile(fmt::format("/proc/{}/maps", daemon_->pid()));
    size_t count = 0;
    for (size_t at = 0; (at = maps->find("/dev/shm/nrtd-hostile", at)) != std::string::npos; ++at)
      ++count;
    return count;
  }
  static std::string Name(int i) { return fmt::format("/nrtd-hostile-{}-{}", ::getpid(), i); }
};

// 8,555 mappings used up the memory map, and 1,020 all descriptors.
TEST_F(MappingsTest, AClientThatMapsWithoutEndIsStoppedAndOthersMapOn) {
  int mapped = 0;
  nrt::shm_map_response last;
  for (int i = 0; i < 3000; ++i) {
    const SparseMemory memory(Name(i), 4096);
    last = client().Map(MapRequest(memory.name()));
    if (last.status().code() != 0) break;
    ++mapped;
  }
  EXPECT_THAT(last, HasStatus(4, "a client may have"));
  EXPECT_THAT(last, HasStatus(4, "--client-limit mappings="));
  EXPECT_GE(mapped, 256);
  EXPECT_LE(mapped, 1024);
  // Another process has room.
  const SparseMemory theirs(Name(5000), 4096);
  Child other([&] {
    RtdClient another(address());
    if (another.Map(MapRequest(theirs.name())).status().code() != 0) ::_exit(1);
  });
  // What is taken back can be used again.
  EXPECT_THAT(client().Unmap(Name(0)), IsOk());
  EXPECT_THAT(client().Map(MapRequest(theirs.name())), IsOk());
}

// Without a session too, and though the connection has gone before.
TEST_F(MappingsTest, MappingsGoWithTheProcessThatMadeThem) {
  const SparseMemory memory(Name(0), 4096);
  client_.reset();  // gRPC is not inherited by the child
  Child child([&] {
    RtdClient mine(address());
    if (mine.Map(MapRequest(memory.name())).status().code() != 0) ::_exit(1);
  });
  EXPECT_EQ(Maps(), 1U);
  child.Kill();
  Await("the mapping's end", [&] { return Maps() == 0; });
  client_ = std::make_unique<RtdClient>(address());
}

TEST_F(MappingsTest, CookiesGoWithTheProcessThatPosted) {
  const uint32_t network = Load({.neff = digits_neff(), .ninfer = 2});
  const auto request = integration::InferRequest(network, digits().Input(0));
  client_.reset();
  Child child([&] {
    RtdClient mine(address());
    for (int i = 0; i < 2; ++i) {
      if (mine.Post(request).status().code() != 0) ::_exit(1);
    }
  });
  client_ = std::make_unique<RtdClient>(address());
  EXPECT_THAT(client().Infer(request), HasStatus(7, ""));
  child.Kill();
  Await("the slots", [&] { return client().Infer(request).status().code() == 0; });
}

// A page that the client never wrote is charged to the daemon when it is read.
TEST_F(MappingsTest, SparseMemoryIsCountedBeforeItIsRead) {
  const SparseMemory memory(Name(0), 2 * kGiB);
  EXPECT_THAT(client().Map(MapRequest(memory.name())), HasStatus(4, "mapped-bytes"));
  EXPECT_EQ(Maps(), 0U);
}

// Connections have numbers of their own, which no request may name.
TEST_F(MappingsTest, AConnectionIsNoSession) {
  const auto clients = client().ListClients();
  ASSERT_GE(clients.clients_size(), 1);
  const uint64_t connection = clients.clients(0).connection_id();
  const SparseMemory memory(Name(0), 4096);
  EXPECT_THAT(client().Map(MapRequest(memory.name(), connection)), HasStatus(3, "session"));
  EXPECT_THAT(client().CreateGroup(1, connection), HasStatus(3, "session"));
  EXPECT_THAT(
      client().Load(integration::LoadMessages({.neff = digits_neff(), .session = connection})),
      HasStatus(3, "session"));
}

}  // namespace
}  // namespace nrtd::hostile
