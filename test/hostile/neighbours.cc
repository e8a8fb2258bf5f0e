// SPDX-License-Identifier: Apache-2.0
//
// neighbours [--seconds N]: what a client with a NeuronCore of its own notices of four others. They
// are hostile and well-behaved in turn, and use the same CPU time both ways. The hostile ones load
// a sparse file of 2 GiB, stop in the middle of messages, unload a busy network a hundred times at
// once, map files until they may not, and run a program of minutes, all at the same time.
//
// Prints the client's latencies in both companies, and fails if p99 is more than 1.5 times as long
// beside the hostile ones, if one of its calls failed, or if the daemon left its memory limit.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/base/scratch_directory.h"
#include "test/hostile/raw_http2.h"
#include "test/hostile/resource_group.h"
#include "test/integration/daemon_process.h"
#include "test/integration/networks.h"
#include "test/integration/rtd_client.h"
#include "test/runtime/neff_builder.h"

namespace nrtd::hostile {
namespace {

using integration::RtdClient;
using std::chrono::milliseconds;

constexpr int kOthers = 4;
constexpr double kMostLonger = 1.5;
constexpr auto kSlice = std::chrono::seconds(15);
constexpr double kNsPerSecond = 1e9;

double Seconds(const timespec& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / kNsPerSecond;
}
double CpuSeconds(clockid_t clock) {
  timespec used{};
  return ::clock_gettime(clock, &used) == 0 ? Seconds(used) : 0;
}
double CpuSecondsOf(pid_t pid) {
  clockid_t clock{};
  return ::clock_getcpuclockid(pid, &clock) == 0 ? CpuSeconds(clock) : 0;
}

// A product of `macs` multiplications of one element, and four floats in and out.
std::string ProductNeff(int64_t side, int64_t depth) {
  const sim::Operand a{runtime::kStageData, DType::kFloat32, 0, {side, depth}, {0, 0}};
  const sim::Operand b{runtime::kStageData, DType::kFloat32, 0, {depth, side}, {0, 0}};
  const sim::Operand c =
      sim::DenseOperand(runtime::kStageScratch, DType::kFloat32, 0, {side, side});
  const runtime::StageSpec stage{
      .scratch_bytes = static_cast<uint64_t>(side * side) * sizeof(float),
      .pe = {sim::MatMul{a, b, {}, c}}};
  return integration::TextOf(runtime::PipelineNeff({.stages = {stage}}));
}
nrt::infer_request FourFloats(uint32_t network) {
  return integration::InferRequest(network, {{"x", std::string(4 * sizeof(float), '\0')}});
}

// A group of one core with the network, started; 0 if the daemon has no room for it now.
uint32_t LoadAndStart(RtdClient& client, const std::string& neff, uint64_t session,
                      uint32_t timeout_s) {
  const auto group = client.CreateGroup(1, session);
  if (group.status().code() != 0) return 0;
  const auto loaded = client.Load(integration::LoadMessages(
      {.neff = neff, .group = group.h_eg().id(), .ninfer = 4, .timeout_s = timeout_s}));
  if (loaded.status().code() != 0) return 0;
  return client.Start(loaded.h_nn().id()).status().code() == 0 ? loaded.h_nn().id() : 0;
}

// What a hostile client does again and again, each on a thread of its own. Whatever the daemon
// answers is fine.
class Hostile {
 public:
  Hostile(std::string socket, std::string folder, int number)
      : socket_(std::move(socket)), folder_(std::move(folder)), number_(number) {}

  [[noreturn]] void Run() {
    std::vector<std::thread> threads;
    for (const auto act : {&Hostile::LoadSparseFile, &Hostile::StopHalfWay, &Hostile::UnloadOften,
                           &Hostile::MapFiles, &Hostile::ComputeForMinutes}) {
      threads.emplace_back([this, act] {
        while (true) {
          try {
            (this->*act)();
          } catch (const std::exception&) {
            // The daemon has ended a call or a connection.
            std::this_thread::sleep_for(milliseconds(1));
          }
        }
      });
    }
    threads[0].join();
    std::abort();
  }

 private:
  std::string address() const { return "unix:" + socket_; }

  void LoadSparseFile() {
    const std::string path = folder_ + "/sparse" + std::to_string(number_);
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    (void)::ftruncate(file, static_cast<off_t>(2 * kGiB));
    (void)::close(file);
    RtdClient client(address());
    for (int i = 0; i < 20; ++i) (void)client.Load(integration::LoadFileMessages(path));
  }
  void StopHalfWay() {
    auto client = RawHttp2::Connect(socket_);
    if (!client) return;
    const std::string part(256 * kKiB, 'm');
    bool goes_on = true;
    for (int i = 0; i < 50 && goes_on; ++i) {
      const uint32_t stream =
          client->OpenStream(i % 2 == 0 ? "/nrt.nmgr_v1/infer" : "/nrt.nmgr_v1/load");
      goes_on = stream != 0 && client->SendData(stream, MessagePrefix(64 * kMiB) + part);
    }
    (void)client->Read(milliseconds(200));
  }
  void UnloadOften() {
    RtdClient client(address());
    auto session = client.OpenSession();
    const uint32_t network =
        LoadAndStart(client, ProductNeff(256, 1 << 14), session->Read().session_id(), 2);
    if (network == 0) return;
    for (int i = 0; i < 4; ++i) (void)client.Post(FourFloats(network));
    std::vector<std::unique_ptr<integration::PendingCall>> calls;
    for (int i = 0; i < 100; ++i) calls.push_back(client.BeginUnload(network));
    (void)client.ListNetworks();
  }
  void MapFiles() {
    RtdClient client(address());
    for (int i = 0; i < 2000; ++i) {
      const std::string name =
          "/nrtd_neighbours_" + std::to_string(number_) + "_" + std::to_string(i);
      const int file = ::shm_open(name.c_str(), O_RDWR | O_CREAT, 0666);
      (void)::ftruncate(file, 1 << 20);
      (void)::close(file);
      nrt::shm_map_request request;
      request.set_path(name);
      request.set_mmap_prot(PROT_READ | PROT_WRITE);
      const bool mapped = client.Map(request).status().code() == 0;
      (void)::shm_unlink(name.c_str());
      if (!mapped) return;
    }
  }
  void ComputeForMinutes() {
    RtdClient client(address());
    auto session = client.OpenSession();
    const uint32_t network =
        LoadAndStart(client, ProductNeff(2048, 1 << 18), session->Read().session_id(), 3);
    if (network == 0) return;
    (void)client.Infer(FourFloats(network));
  }

  const std::string socket_;
  const std::string folder_;
  const int number_;
};

// Infers one after the other on a core of its own, with a pause between.
[[noreturn]] void RunFriendly(const std::string& socket, const std::atomic<int64_t>& pause_ns) {
  RtdClient client("unix:" + socket);
  auto session = client.OpenSession();
  // Some 4 ms of one core.
  const uint32_t network =
      LoadAndStart(client, ProductNeff(512, 2048), session->Read().session_id(), 60);
  if (network == 0) std::abort();
  while (true) {
    if (client.Infer(FourFloats(network)).status().code() != 0) std::abort();
    std::this_thread::sleep_for(std::chrono::nanoseconds(pause_ns.load()));
  }
}

// How long well-behaved clients rest between two inferences: a file, since they are other
// processes.
std::atomic<int64_t>* MapPause(const std::string& folder) {
  const UniqueFd file(::open((folder + "/pause").c_str(), O_RDWR | O_CLOEXEC));
  void* const at = ::mmap(nullptr, sizeof(std::atomic<int64_t>), PROT_READ | PROT_WRITE, MAP_SHARED,
                          file.get(), 0);
  if (at == MAP_FAILED) throw std::runtime_error("cannot map " + folder + "/pause");
  return static_cast<std::atomic<int64_t>*>(at);
}

struct Company {
  std::vector<double> latencies_us;
  double cpu_seconds = 0;  // of the others and of the daemon
  double seconds = 0;
  int failed = 0;

  double At(double share) {
    if (latencies_us.empty()) return 0;
    const auto at =
        static_cast<std::ptrdiff_t>(share * static_cast<double>(latencies_us.size() - 1));
    std::nth_element(latencies_us.begin(), latencies_us.begin() + at, latencies_us.end());
    return latencies_us[static_cast<size_t>(at)];
  }
  double cpu_share() const { return seconds > 0 ? cpu_seconds / seconds : 0; }
};

class Neighbours {
 public:
  Neighbours(int seconds, std::string program) : seconds_(seconds), program_(std::move(program)) {
    folder_.Write("pause", std::string(sizeof(std::atomic<int64_t>), '\0'));
    pause_ns_ = MapPause(folder_.path());
  }

  int Run() {
    auto group = ResourceGroup::Create();
    if (!group) throw std::runtime_error(group.error().text);
    daemon_ = std::make_unique<integration::DaemonProcess>(
        std::vector<std::string>{"--sim", "inf1.6xlarge", "--sim-threads", "1", "-g",
                                 "unix:" + socket(), "-x", "--hugepages", "16"},
        group->Launcher());
    if (!daemon_->AwaitListening()) throw std::runtime_error(daemon_->Log());
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2 * seconds_);
    Company hostile;
    Company friendly;
    while (std::chrono::steady_clock::now() < end) {
      Measure(hostile, true);
      Measure(friendly, false);
      // The well-behaved ones are to use as much CPU time as the hostile ones did.
      const double ratio = friendly.cpu_share() / std::max(hostile.cpu_share(), 0.01);
      if (ratio > 1) pause_ns_->fetch_add(static_cast<int64_t>((ratio - 1) * 4e6));
      std::printf("%5.0f s: p99 %8.0f us beside hostile, %8.0f us beside well-behaved clients\n",
                  hostile.seconds + friendly.seconds, hostile.At(0.99), friendly.At(0.99));
      std::fflush(stdout);
    }
    const uint64_t peak = group->PeakMemoryBytes();
    const int exit_code = daemon_->Stop();
    return Report(hostile, friendly, peak, exit_code);
  }

 private:
  std::string socket() const { return folder_.File("nrtd.sock"); }

  pid_t StartOther(bool hostile, int number) {
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
    // A program of its own: gRPC does not survive a fork.
    const std::string kind = hostile ? "--hostile" : "--friendly";
    const std::string which = std::to_string(number);
    (void)::execl(program_.c_str(), program_.c_str(), kind.c_str(), socket().c_str(),
                  folder_.path().c_str(), which.c_str(), nullptr);
    ::_exit(1);
  }

  void Measure(Company& company, bool hostile) {
    std::vector<pid_t> others;
    for (int i = 0; i < kOthers; ++i) others.push_back(StartOther(hostile, i));
    double used = -CpuSecondsOf(daemon_->pid());
    {
      RtdClient client("unix:" + socket());
      auto session = client.OpenSession();
      const std::string neff = integration::CompileDigits();
      const integration::Digits digits;
      const uint64_t id = session->Read().session_id();
      const uint32_t network = LoadAndStart(client, neff, id, 60);
      if (network == 0) throw std::runtime_error("the client got no core: " + daemon_->Log());
      const nrt::infer_request request = integration::InferRequest(network, digits.Input(0));
      std::this_thread::sleep_for(milliseconds(500));  // until the others are at work
      const auto begin = std::chrono::steady_clock::now();
      while (std::chrono::steady_clock::now() < begin + kSlice) {
        const auto start = std::chrono::steady_clock::now();
        if (client.Infer(request).status().code() != 0) ++company.failed;
        const std::chrono::duration<double, std::micro> took =
            std::chrono::steady_clock::now() - start;
        company.latencies_us.push_back(took.count());
        std::this_thread::sleep_for(milliseconds(1));
      }
      company.seconds +=
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }
    used += CpuSecondsOf(daemon_->pid());
    for (const pid_t other : others) {
      used += CpuSecondsOf(other);
      (void)::kill(other, SIGKILL);
      (void)::waitpid(other, nullptr, 0);
    }
    company.cpu_seconds += used;
  }

  int Report(Company& hostile, Company& friendly, uint64_t peak, int exit_code) const {
    const double ratio = hostile.At(0.99) / friendly.At(0.99);
    std::printf("\n%-28s %12s %12s\n", "", "hostile", "well-behaved");
    std::printf("%-28s %12.0f %12.0f\n", "seconds", hostile.seconds, friendly.seconds);
    std::printf("%-28s %12.2f %12.2f\n", "CPUs used by company+daemon", hostile.cpu_share(),
                friendly.cpu_share());
    std::printf("%-28s %12zu %12zu\n", "inferences", hostile.latencies_us.size(),
                friendly.latencies_us.size());
    std::printf("%-28s %12d %12d\n", "failed", hostile.failed, friendly.failed);
    for (const double share : {0.5, 0.9, 0.99, 0.999})
      std::printf("p%-27.1f %10.0fus %10.0fus\n", share * 100, hostile.At(share),
                  friendly.At(share));
    std::printf("p99 ratio %.3f (at most %.1f), peak memory %.0f MiB of %.0f, exit code %d\n",
                ratio, kMostLonger, static_cast<double>(peak) / static_cast<double>(kMiB),
                static_cast<double>(kMemoryLimit) / static_cast<double>(kMiB), exit_code);
    const bool good = ratio <= kMostLonger && hostile.failed == 0 && friendly.failed == 0 &&
                      peak < kMemoryLimit && exit_code == 0;
    std::printf("%s\n", good ? "ok" : "MISSED");
    return good ? 0 : 1;
  }

  const int seconds_;
  const std::string program_;
  std::atomic<int64_t>* pause_ns_;
  ScratchDirectory folder_;
  std::unique_ptr<integration::DaemonProcess> daemon_;
};

int Main(const std::vector<std::string>& arguments) {
  if (arguments.size() == 5 && arguments[1] == "--hostile")
    Hostile(arguments[2], arguments[3], std::stoi(arguments[4])).Run();
  if (arguments.size() == 5 && arguments[1] == "--friendly")
    RunFriendly(arguments[2], *MapPause(arguments[3]));
  if (arguments.size() == 1 || (arguments.size() == 3 && arguments[1] == "--seconds"))
    return Neighbours(arguments.size() == 1 ? 300 : std::stoi(arguments[2]), "/proc/self/exe")
        .Run();
  std::cerr << "usage: neighbours [--seconds N]   in each company, 300 by default\n";
  return 2;
}

}  // namespace
}  // namespace nrtd::hostile

int main(int count, char** arguments) {
  try {
    return nrtd::hostile::Main({arguments, arguments + count});
  } catch (const std::exception& error) {
    std::cerr << "neighbours: " << error.what() << '\n';
    return 1;
  }
}
