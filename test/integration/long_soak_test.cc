// SPDX-License-Identifier: Apache-2.0
//
// Everything at once, for 40 s, or for as long as NRTD_SOAK_SECONDS says (./dev soak):
// clients that load, switch, infer in every way and unload at random, clients that are killed, and
// one that reads statistics all the while. Every answer is compared with what it must be. Now and
// then all pause, and the daemon must be as empty as it was.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <mutex>
#include <random>
#include <shared_mutex>
#include <thread>

#include <sys/mman.h>

#include "base/sanitized.h"
#include "base/sizes.h"
#include "test/integration/client_process.h"
#include "test/integration/daemon_test.h"
#include "test/memory/client_shm.h"
#include "test/runtime/neff_builder.h"

namespace nrtd::integration {
namespace {

using std::chrono::seconds;

constexpr seconds kShortSoak(40);
constexpr int kPauses = 12;  // how often all come to rest, at most a minute apart
constexpr seconds kMostBetweenPauses(60);
// What every cache, arena and thread needs has been there by then.
constexpr double kWarmUp = 0.34;
constexpr uint64_t kResidentGrowth = 4 * kMiB;
constexpr uint32_t kNcBusy = 9;  // no cores are free now: another client has them

seconds SoakTime() {
  const char* text = std::getenv("NRTD_SOAK_SECONDS");
  return text != nullptr ? seconds(std::strtol(text, nullptr, 10)) : kShortSoak;
}

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  uint32_t Below(uint32_t bound) {
    return std::uniform_int_distribution<uint32_t>(0, bound - 1)(engine_);
  }

 private:
  std::mt19937 engine_;
};

// A vector in, every element 2^n x + 2^n - 1 out.
struct Chain {
  std::string neff;
  size_t stages = 0;
  uint32_t most_cores = 0;   // one a subgraph
  uint32_t least_cores = 0;  // shared
};

Chain MakeChain(const std::vector<size_t>& stages_of_node) {
  Chain chain;
  chain.neff = TextOf(runtime::NeffBytes(runtime::ChainContents(stages_of_node)));
  for (const size_t stages : stages_of_node) {
    chain.stages += stages;
    chain.least_cores = std::max(chain.least_cores, static_cast<uint32_t>(stages));
  }
  chain.most_cores = static_cast<uint32_t>(chain.stages);
  return chain;
}

class LongSoakTest : public DaemonTest {
 protected:
  // One process is many clients here.
  void SetUp() override {
    DaemonTest::SetUp();
    if (IsSkipped()) return;
    RestartDaemon({"--call-rate", "0"});
  }

  struct Totals {
    std::atomic<uint64_t> inferences{0};  // answered with code 0, and rightly
    std::atomic<uint64_t> refused{0};     // inferences answered with another code
    std::atomic<uint64_t> loads{0};
    std::atomic<uint64_t> switches{0};
    std::atomic<uint64_t> kills{0};
    std::atomic<uint64_t> readings{0};
  };

  // One inference's answer.
  void Take(const nrt::infer_response& answer, float asked, size_t stages) {
    if (answer.status().code() != 0) {
      ++totals_.refused;
      ADD_FAILURE() << answer.status().code() << ": " << answer.status().details();
      return;
    }
    ASSERT_EQ(answer.ofmap_size(), 1);
    for (const float value : FloatsOf(answer.ofmap(0).buf()))
      ASSERT_EQ(value, runtime::Doubled(asked, stages));
    ++totals_.inferences;
  }
  static nrt::infer_request Ask(uint32_t network, float value) {
    return InferRequest(network, {{"x", BytesOf(std::vector<float>(4, value))}});
  }
  float FreshValue() { return static_cast<float>(next_value_.fetch_add(1) % 4096); }

  // Some inferences one by one, and as many at once as the network takes.
  void Infer(RtdClient& who, uint32_t network, size_t stages, uint32_t ninfer, Random& random) {
    for (uint32_t i = random.Below(20); i > 0; --i) {
      const float value = FreshValue();
      Take(who.Infer(Ask(network, value)), value, stages);
    }
    std::vector<std::pair<uint64_t, float>> posted;
    for (uint32_t i = 0; i < ninfer; ++i) {
      const float value = FreshValue();
      const auto answer = who.Post(Ask(network, value));
      ASSERT_THAT(answer, IsOk());
      posted.emplace_back(answer.cookie(), value);
    }
    std::shuffle(posted.begin(), posted.end(), std::mt19937(random.Below(1'000'000)));
    for (const auto& [cookie, value] : posted) Take(who.Wait(cookie), value, stages);
  }

  // A load that may find all cores taken: 0 then.
  uint32_t TryLoad(RtdClient& who, const LoadParts& parts) {
    const auto loaded = who.Load(LoadMessages(parts));
    if (loaded.status().code() == kNcBusy) return 0;
    EXPECT_THAT(loaded, IsOk());
    ++totals_.loads;
    return loaded.h_nn().id();
  }

  void LoadInferUnload(RtdClient& who, Random& random) {
    const Chain& chain = chains_[random.Below(static_cast<uint32_t>(chains_.size()))];
    const uint32_t ninfer = 1 + random.Below(6);
    uint32_t group = 0;
    if (random.Below(2) == 0) {
      const uint32_t cores =
          chain.least_cores + random.Below(chain.most_cores - chain.least_cores + 1);
      const auto made = who.CreateGroup(cores);
      if (made.status().code() == kNcBusy) return;
      ASSERT_THAT(made, IsOk());
      group = made.h_eg().id();
    }
    const uint32_t network =
        TryLoad(who, {.neff = chain.neff, .group = group, .ninfer = ninfer, .timeout_s = 60});
    if (network != 0) {
      if (group != 0) {
        EXPECT_THAT(who.Start(network), IsOk());
      }
      Infer(who, network, chain.stages, ninfer, random);
      EXPECT_THAT(who.Unload(network), IsOk());
    }
    if (group != 0) {
      EXPECT_THAT(who.DestroyGroup(group), IsOk());
    }
  }

  // The networks of one group run in turn.
  void Switch(RtdClient& who, Random& random) {
    const auto made = who.CreateGroup(1);
    if (made.status().code() == kNcBusy) return;
    ASSERT_THAT(made, IsOk());
    const uint32_t group = made.h_eg().id();
    const Chain* const chains[] = {&chains_[0], &chains_[1]};
    uint32_t networks[2];
    for (int i = 0; i < 2; ++i) {
      networks[i] = TryLoad(who, {.neff = chains[i]->neff, .group = group, .timeout_s = 60});
      ASSERT_NE(networks[i], 0U);
    }
    for (uint32_t i = 0; i < 10; ++i) {
      ASSERT_THAT(who.Start(networks[i % 2]), IsOk());
      Infer(who, networks[i % 2], chains[i % 2]->stages, 1 + random.Below(4), random);
      ASSERT_THAT(who.Stop(networks[i % 2]), IsOk());
      ++totals_.switches;
    }
    for (const uint32_t network : networks) EXPECT_THAT(who.Unload(network), IsOk());
    EXPECT_THAT(who.DestroyGroup(group), IsOk());
  }

  // Tensors through shared memory whose names are gone.
  void InferShared(RtdClient& who, Random& random) {
    const size_t bytes = 4 * sizeof(float);
    memory::ClientShm input(bytes);
    memory::ClientShm output(bytes);
    for (memory::ClientShm* shm : {&input, &output}) {
      nrt::shm_map_request map;
      map.set_path(shm->name());
      map.set_mmap_prot(PROT_READ | PROT_WRITE);
      ASSERT_THAT(who.Map(map), IsOk());
      shm->Unlink();
    }
    const Chain& chain = chains_[0];
    const uint32_t network = TryLoad(who, {.neff = chain.neff, .timeout_s = 60});
    for (uint32_t i = network != 0 ? 1 + random.Below(30) : 0; i > 0; --i) {
      const float value = FreshValue();
      const std::string sent = BytesOf(std::vector<float>(4, value));
      std::memcpy(input.data(), sent.data(), bytes);
      nrt::infer_request request = InferRequest(network, {});
      *request.add_ifmap() = SharedTensor("x", input.name());
      *request.add_shm_ofmap() = SharedTensor("y", output.name());
      ASSERT_THAT(who.Infer(request), IsOk());
      EXPECT_EQ(FloatsOf({reinterpret_cast<const char*>(output.data()), bytes})[0],
                runtime::Doubled(value, chain.stages));
      ++totals_.inferences;
    }
    if (network != 0) {
      EXPECT_THAT(who.Unload(network), IsOk());
    }
    for (memory::ClientShm* shm : {&input, &output}) EXPECT_THAT(who.Unmap(shm->name()), IsOk());
  }

  void ReadStatistics(RtdClient& who, Random& random) {
    EXPECT_THAT(who.AllCounters(), IsOk());
    EXPECT_THAT(who.Metrics(1 + random.Below(60)), IsOk());
    EXPECT_THAT(who.CoreCounters(random.Below(4)), IsOk());
    (void)who.ListNetworks();
    (void)who.ListClients();
    (void)who.ListDevices();
    ++totals_.readings;
  }

  // A client in the middle of whatever it does, or with inferences in flight and a session open.
  void KillOne(RtdClient& who, Random& random) {
    memory::ClientShm shm(4096);
    ClientProcess process(address(), random.Below(2) == 0 ? File("chain.neff") : File("slow.neff"),
                          shm.name(), {"--quiet"});
    if (random.Below(2) == 0) {
      const ClientProcess::Made made = process.AwaitReady();
      if (made.session == 0) return;  // it found no cores, and has gone by itself
      const TimePoint killed = clock_.Now();
      process.Kill();
      Await("the end of what a killed client had", [&] { return IsGone(who, made); });
      freed_after_.push_back(clock_.Now() - killed);
    } else {
      for (uint32_t i = random.Below(200); i > 0; --i) (void)who.GetVersion();
      process.Kill();
    }
    ++totals_.kills;
  }
  static bool IsGone(RtdClient& who, const ClientProcess::Made& made) {
    const auto networks = who.ListNetworks();
    const auto groups = who.ListGroups();
    return std::ranges::none_of(networks.networks(),
                                [&](const auto& known) { return known.id() == made.network; }) &&
           std::ranges::none_of(groups.eg_info(),
                                [&](const auto& known) { return known.eg().id() == made.group; });
  }

  // Runs `round` again and again until it is over, each time with the right to do so.
  template <typename Round>
  std::thread Worker(uint32_t number, Round round) {
    return std::thread([this, number, round] {
      RtdClient own(address());
      Random random(number);
      while (!over_ && !HasFailure()) {
        // Behind whoever waits for a pause.
        std::unique_lock<std::mutex> turn(turnstile_);
        const std::shared_lock<std::shared_mutex> work(at_work_);
        turn.unlock();
        round(own, random);
      }
    });
  }

  // All come to rest; what is then left must be what an idle daemon has. Returns its memory.
  uint64_t Pause() {
    const std::lock_guard<std::mutex> turn(turnstile_);
    const std::lock_guard<std::shared_mutex> rest(at_work_);
    Await("the end of all that was made", [&] { return ReadUsage(client()) == idle_; });
    EXPECT_EQ(ReadUsage(client()), idle_);
    Await("the end of all sessions", [&] { return client().ListSessions().sessions().empty(); });
    if (idle_files_ == 0) idle_files_ = daemon().OpenFiles();
    Await("the end of all connections", [&] { return daemon().OpenFiles() <= idle_files_; });
    EXPECT_LE(daemon().OpenFiles(), idle_files_);
    Await("all pages of the pool", [&] {
      return daemon().StatusBytes("HugetlbPages") == kTestHugePages * memory::kHugePageSize;
    });
    CheckCounts();
    if (!freed_after_.empty()) worst_ = std::ranges::max(freed_after_);
    return daemon().StatusBytes("VmRSS");
  }

  // Each was answered once: the daemon has counted as many as the clients. What clients post while
  // they are being killed may find their network gone, and counts as refused; they post two.
  void CheckCounts() {
    const nrt::nmgr_counters counters = client().InferenceCounters();
    uint64_t refused = 0;
    for (const auto& count : counters.infer_status_counts()) {
      if (count.infer_status() == nrt::IST_OK) {
        EXPECT_EQ(count.count(), totals_.inferences);
      } else if (count.infer_status() == nrt::IST_BAD_INPUT) {
        refused = count.count();
      } else {
        EXPECT_EQ(count.count(), 0U) << "of status " << count.infer_status();
      }
    }
    EXPECT_GE(refused, totals_.refused);
    EXPECT_LE(refused, totals_.refused + 2 * totals_.kills);
    EXPECT_EQ(counters.infer_count(), totals_.inferences + refused);
    refused_to_the_killed_ = refused - totals_.refused;
  }

  void Report(Duration passed, uint64_t resident) {
    std::cout
        << fmt::format(
               "{:5} s: {} inferences, {} loads, {} switches, {} clients killed (all they had "
               "free after {:.1f} ms at worst, {} posts too late), statistics read {} times, "
               "resident {:.1f} MiB",
               std::chrono::duration_cast<seconds>(passed).count(), totals_.inferences.load(),
               totals_.loads.load(), totals_.switches.load(), totals_.kills.load(),
               std::chrono::duration<double, std::milli>(worst_).count(), refused_to_the_killed_,
               totals_.readings.load(), static_cast<double>(resident) / kMiB)
        << std::endl;
  }

  SteadyClock clock_;
  Usage idle_;
  size_t idle_files_ = 0;
  std::vector<Duration> freed_after_;  // by the one that kills, and in pauses
  Duration worst_{};                   // of them, at the last pause
  uint64_t refused_to_the_killed_ = 0;
  Totals totals_;
  std::vector<Chain> chains_;
  std::atomic<uint64_t> next_value_{1};
  std::atomic<bool> over_{false};
  std::shared_mutex at_work_;
  std::mutex turnstile_;
};

TEST_F(LongSoakTest, EverythingAtOnceLosesNothingAndLeavesNothing) {
  for (const auto& nodes : {std::vector<size_t>{1}, {1, 1}, {2}, {1, 2, 1}})
    chains_.push_back(MakeChain(nodes));
  WriteText(File("chain.neff"), chains_[1].neff);
  WriteText(File("slow.neff"), SlowNeff());
  idle_ = ReadUsage(client());
  const seconds soak = SoakTime();
  const Duration stretch = std::min<Duration>(soak / kPauses, kMostBetweenPauses);

  std::vector<std::thread> workers;
  workers.push_back(Worker(1, [this](auto& who, auto& random) { LoadInferUnload(who, random); }));
  workers.push_back(Worker(2, [this](auto& who, auto& random) { LoadInferUnload(who, random); }));
  workers.push_back(Worker(3, [this](auto& who, auto& random) { Switch(who, random); }));
  workers.push_back(Worker(4, [this](auto& who, auto& random) { InferShared(who, random); }));
  workers.push_back(Worker(5, [this](auto& who, auto& random) { ReadStatistics(who, random); }));
  workers.push_back(Worker(6, [this](auto& who, auto& random) { KillOne(who, random); }));
  const TimePoint start = clock_.Now();
  uint64_t warm = 0;
  uint64_t resident = 0;
  for (Duration passed{}; passed < soak && !HasFailure(); passed = clock_.Now() - start) {
    std::this_thread::sleep_for(std::min<Duration>(stretch, soak - passed));
    resident = Pause();
    if (passed < soak * kWarmUp) warm = std::max(warm, resident);
    Report(clock_.Now() - start, resident);
  }
  over_ = true;
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(totals_.refused, 0U);
  for (const auto* count :
       {&totals_.inferences, &totals_.loads, &totals_.switches, &totals_.kills, &totals_.readings})
    EXPECT_GT(*count, 0U);
  // A sanitizer keeps freed memory in its quarantine, so residence says nothing there.
  if (kSanitized) return;
  EXPECT_LT(resident, warm + kResidentGrowth);
}

}  // namespace
}  // namespace nrtd::integration
