// SPDX-License-Identifier: Apache-2.0
//
// Messages, uploads and answers that stop half way: each client may make the daemon hold so much,
// all together so much, and what waits for ever is ended. Other clients do not notice.
#include <functional>
#include <map>
#include <vector>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "base/sanitized.h"
#include "test/hostile/hostile_test.h"
#include "test/hostile/raw_http2.h"

namespace nrtd::hostile {
namespace {

constexpr const char* kInfer = "/nrt.nmgr_v1/infer";
constexpr const char* kLoad = "/nrt.nmgr_v1/load";

// A client of its own: the work runs in a child process, which uses nothing but raw sockets.
class HostileProcess {
 public:
  explicit HostileProcess(const std::function<bool()>& work) : pid_(::fork()) {
    if (pid_ == 0) ::_exit(work() ? 0 : 1);
  }
  HostileProcess(HostileProcess&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  HostileProcess& operator=(HostileProcess&&) = delete;
  ~HostileProcess() { Kill(); }

  bool HasEnded() {
    if (pid_ > 0 && ::waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = -1;
    return pid_ <= 0;
  }
  bool succeeded() const { return WIFEXITED(status_) && WEXITSTATUS(status_) == 0; }
  void Kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, &status_, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_;
  int status_ = 0;
};

// Opens connections with streams of which each begins a message of `declared` bytes, and sends more
// and more of them until the daemon has shut every connection down. False if it takes too much.
bool SendHalfMessages(const std::string& socket, size_t connections, size_t streams,
                      size_t declared) {
  constexpr size_t kRound = 64 * kKiB;
  constexpr uint64_t kTooMuch = 2 * kGiB;
  std::vector<RawHttp2> open;
  std::vector<std::vector<uint32_t>> ids(connections);
  for (size_t i = 0; i < connections; ++i) {
    auto client = RawHttp2::Connect(socket);
    if (!client) return false;
    open.push_back(std::move(*client));
  }
  std::vector<bool> cut(connections, false);
  const std::string part(kRound, 'm');
  for (uint64_t sent = 0; sent < kTooMuch;) {
    bool any = false;
    for (size_t i = 0; i < connections; ++i) {
      for (size_t k = 0; k < streams && !cut[i]; ++k) {
        if (ids[i].size() <= k) {
          ids[i].push_back(open[i].OpenStream(kInfer));
          cut[i] = ids[i][k] == 0 || !open[i].SendData(ids[i][k], MessagePrefix(declared));
        }
        if (!cut[i]) cut[i] = !open[i].SendData(ids[i][k], part);
        sent += part.size();
      }
      any = any || !cut[i];
    }
    if (!any) return true;
  }
  return false;
}

std::string Deflated(const std::string& text) {
  uLongf size = ::compressBound(text.size());
  std::string packed(size, '\0');
  EXPECT_EQ(::compress(reinterpret_cast<Bytef*>(packed.data()), &size,
                       reinterpret_cast<const Bytef*>(text.data()), text.size()),
            Z_OK);
  packed.resize(size);
  return packed;
}

class HalfMessagesTest : public HostileTest {
 protected:
  void SetUp() override {
    HostileTest::SetUp();
    if (IsSkipped()) return;
    network_ = Load({.neff = digits_neff()});
    ExpectReads(network_);
    memory_before_ = daemon().StatusBytes("VmRSS");
  }

  RawHttp2 Connect(const RawHttp2::Options& options = {}) {
    auto client = RawHttp2::Connect(SocketPath(), options);
    EXPECT_TRUE(client.has_value());
    return std::move(*client);
  }
  // Two seconds after the last large message went (base/timeouts.h), and what a busy machine adds.
  void ExpectMemoryReturns() {
    const TimePoint begin = clock_.Now();
    Await("the memory goes back",
          [&] { return daemon().StatusBytes("VmRSS") < memory_before_ + 48 * kMiB; });
    EXPECT_LT(clock_.Now() - begin, std::chrono::seconds(5));
  }
  bool Reads() {
    const auto answer = client().Infer(integration::InferRequest(network_, digits().Input(0)));
    return answer.status().code() == 0;
  }

  SteadyClock clock_;
  uint32_t network_ = 0;
  uint64_t memory_before_ = 0;
};

// 600 streams that declare 64 MiB each.
TEST_F(HalfMessagesTest, MessagesThatStopHalfWayAreBoundedAndOthersDoNotNotice) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's own memory counts too";
  const std::string socket = SocketPath();
  std::vector<HostileProcess> hostile;
  for (int i = 0; i < 3; ++i)
    hostile.emplace_back([&] { return SendHalfMessages(socket, 4, 50, 64 * kMiB); });
  Await("every hostile connection is shut down", [&] {
    EXPECT_TRUE(Reads());
    bool ended = true;
    for (HostileProcess& process : hostile) ended = process.HasEnded() && ended;
    return ended;
  });
  for (const HostileProcess& process : hostile) EXPECT_TRUE(process.succeeded());
  EXPECT_LT(group().PeakMemoryBytes(), kMemoryLimit * 3 / 4);
  EXPECT_TRUE(daemon().AwaitLog("shut down a connection of pid"));
  ExpectMemoryReturns();
}

TEST_F(HalfMessagesTest, CallsThatNeverBeginAreBounded) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's own memory counts too";
  const std::string socket = SocketPath();
  HostileProcess hostile([&] {
    std::vector<RawHttp2> open;
    for (int i = 0; i < 250; ++i) {
      auto client = RawHttp2::Connect(socket);
      if (!client) return false;
      bool sent = true;
      for (int k = 0; k < 250 && sent; ++k) sent = client->OpenStream(kInfer) != 0;
      open.push_back(std::move(*client));
    }
    return true;
  });
  Await("all calls are open, or refused", [&] {
    EXPECT_TRUE(Reads());
    return hostile.HasEnded();
  });
  EXPECT_LT(group().PeakMemoryBytes(), kMemoryLimit * 3 / 4);
  ExpectMemoryReturns();
}

TEST_F(HalfMessagesTest, AMessageWithoutAByteForTenSecondsLosesItsConnection) {
  RawHttp2 stalled = Connect();
  RawHttp2 quiet = Connect();  // a session that has nothing to say is no message half way
  const uint32_t session = quiet.OpenStream("/nrt.nmgr_session_manager/session_monitor");
  ASSERT_TRUE(quiet.SendMessage(session, ""));
  const uint32_t stream = stalled.OpenStream(kInfer);
  ASSERT_TRUE(stalled.SendData(stream, MessagePrefix(kMiB) + std::string(100'000, 'm')));
  const TimePoint begin = clock_.Now();
  (void)stalled.Read(FrameType::kReset, std::chrono::seconds(30));  // no such frame: its end
  EXPECT_TRUE(stalled.AtEnd());
  EXPECT_GT(clock_.Now() - begin, std::chrono::seconds(8));
  EXPECT_TRUE(daemon().AwaitLog("a message stopped half way for 10 s"));
  EXPECT_TRUE(quiet.Ping());
  EXPECT_TRUE(quiet.Read(FrameType::kPing, std::chrono::seconds(30)));
  EXPECT_TRUE(Reads());
}

TEST_F(HalfMessagesTest, ALargeMessageIsRefusedWhenItIsCompleteAndItsConnectionStays) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's own memory counts too";
  RawHttp2 client = Connect();
  const uint32_t stream = client.OpenStream(kInfer);
  const std::string message(40 * kMiB, 'm');  // more than one client's messages, less than twice
  ASSERT_TRUE(client.SendMessage(stream, message, kEndStream));
  const auto answer = client.ReadAnswer(stream, integration::kPatience);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 8);  // RESOURCE_EXHAUSTED
  EXPECT_TRUE(client.Ping());
  EXPECT_TRUE(client.Read(FrameType::kPing, integration::kPatience));
  ExpectMemoryReturns();
}

// 64 MiB of zeros in 64 KiB.
TEST_F(HalfMessagesTest, ACompressedMessageIsRefusedBeforeItExpands) {
  std::string packed = Deflated(std::string(64 * kMiB, '\0'));
  ASSERT_LT(packed.size(), kMiB);
  RawHttp2 client = Connect();
  for (int i = 0; i < 8; ++i) {
    const uint32_t stream = client.OpenStream(kInfer, {{"grpc-encoding", "deflate"}});
    std::string message = MessagePrefix(packed.size());
    message[0] = 1;
    ASSERT_TRUE(client.SendData(stream, message + packed, kEndStream));
    const auto answer = client.ReadAnswer(stream, integration::kPatience);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 12);  // UNIMPLEMENTED
  }
  EXPECT_LT(daemon().StatusBytes("VmHWM"), memory_before_ + 32 * kMiB);
  EXPECT_TRUE(Reads());
}

// Each answer is some KiB; none is ever read, so that they wait for the window.
TEST_F(HalfMessagesTest, AnswersThatAreNeverReadAreCancelled) {
  const std::string socket = SocketPath();
  RawHttp2 client = Connect({.stream_window = 0});
  std::vector<uint32_t> streams;
  for (int i = 0; i < 200; ++i) {
    streams.push_back(client.OpenStream("/nrt.nmgr_v1/read_all_metrics"));
    ASSERT_TRUE(client.SendMessage(streams.back(), "", kEndStream));
  }
  const TimePoint begin = clock_.Now();
  const auto reset = client.Read(FrameType::kReset, std::chrono::seconds(60));
  ASSERT_TRUE(reset);
  EXPECT_GT(clock_.Now() - begin, std::chrono::seconds(25));
  EXPECT_LT(group().PeakMemoryBytes(), kMemoryLimit / 2);
  EXPECT_TRUE(daemon().AwaitLog("cancelled a call"));
  EXPECT_TRUE(Reads());
}

TEST_F(HalfMessagesTest, AnUploadThatNeverEndsIsBoundedAndGoesWithItsClient) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's own memory counts too";
  const std::string socket = SocketPath();
  HostileProcess hostile([&] {
    auto client = RawHttp2::Connect(socket);
    if (!client) return false;
    const uint32_t stream = client->OpenStream(kLoad);
    nrt::load_request size;
    size.set_neff_size(3 * kGiB);
    nrt::load_request chunk;
    chunk.mutable_neff_chunk()->set_chunk(std::string(kMiB, 'n'));
    const std::string message = chunk.SerializeAsString();
    if (!client->SendMessage(stream, size.SerializeAsString())) return false;
    for (int i = 0; i < 700; ++i) {
      if (!client->SendMessage(stream, message)) return false;
    }
    return true;
  });
  Await("more than the group's memory was sent", [&] {
    EXPECT_TRUE(Reads());
    return hostile.HasEnded();
  });
  EXPECT_TRUE(hostile.succeeded());
  EXPECT_LT(group().PeakMemoryBytes(), kMemoryLimit * 7 / 8);
  ExpectMemoryReturns();
}

}  // namespace
}  // namespace nrtd::hostile
