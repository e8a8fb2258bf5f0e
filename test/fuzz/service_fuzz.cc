// SPDX-License-Identifier: Apache-2.0
//
// Several clients, each a process of its own, do what the input says with a server in this process:
// connections, sessions, loads, inferences, mappings, wrong handles and wrong messages; sessions
// end, connections break, processes are killed in between. Whatever they do, every call ends, and
// when all of them have gone and an operator has cleared up, nothing of theirs is left.
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sizes.h"
#include "runtime/machine.h"
#include "runtime/runtime.h"
#include "runtime/service/server.h"
#include "test/base/scratch_directory.h"
#include "test/fuzz/client_processes.h"
#include "test/integration/networks.h"
#include "test/integration/rtd_client.h"
#include "test/must.h"
#include "test/runtime/neff_builder.h"

namespace nrtd::fuzz {
namespace {

using integration::RtdClient;

constexpr size_t kClients = 4;
constexpr size_t kMostSteps = 64;
constexpr uint32_t kFloats = 4;  // of every tensor
constexpr auto kPatience = std::chrono::seconds(60);

[[noreturn]] void Broken(const std::string& promise) {
  std::fprintf(stderr, "broken promise: %s\n", promise.c_str());
  std::abort();
}

// Numbers out of the input; 0 when it is used up.
class Script {
 public:
  explicit Script(ByteSpan bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  uint8_t Byte() {
    if (bytes_.empty()) return 0;
    const auto value = static_cast<uint8_t>(bytes_.front());
    bytes_ = bytes_.subspan(1);
    return value;
  }
  uint32_t Below(uint32_t end) { return Byte() % end; }
  bool Flag() { return (Byte() & 1) != 0; }
  uint64_t Number() {
    uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | Byte();
    return value;
  }
  // One that is known, mostly.
  template <typename T>
  T Of(const std::vector<T>& known) {
    const uint8_t byte = Byte();
    if (byte == 0xff) return static_cast<T>(Number());
    return known.empty() ? T{} : known[byte % known.size()];
  }

 private:
  ByteSpan bytes_;
};

// The daemon's part: a simulated inf1.xlarge, served on a socket.
class Edge {
 public:
  Edge()
      : processes_(socket_path()),
        sessions_(std::make_shared<runtime::SessionTable>(SmallLimits(), 1)),
        runtime_(MakeMachine(clock_), runtime::IdBases{}, sessions_) {
    service::ServerOptions options;
    options.address = "unix:" + socket_path();
    server_ = Must(service::Server::Start(Must(service::Endpoint::Reserve(options)), options,
                                          {*sessions_, &runtime_, reason_, clock_}, io_));
    io_thread_ = std::thread([this] { io_.run(); });
    operator_ = std::make_unique<RtdClient>(options.address);
    shared_ = "/nrtd_service_fuzz_" + std::to_string(::getpid());
    const UniqueFd memory(::shm_open(shared_.c_str(), O_RDWR | O_CREAT, 0666));
    if (::ftruncate(memory.get(), 4096) != 0) Broken("shared memory is to be had");
    // What stays is there from now on: rings, buffers, the library's caches.
    empty_ = Held();
  }
  ~Edge() {
    (void)::shm_unlink(shared_.c_str());
    io_.stop();
    io_thread_.join();
    server_->Shutdown(Duration::zero());
  }
  Edge(const Edge&) = delete;
  Edge& operator=(const Edge&) = delete;

  ClientProcesses& processes() { return processes_; }
  RtdClient& by_operator() { return *operator_; }
  const std::string& shared() const { return shared_; }

  // No client is there any more: so nothing is left, but for networks and groups of no session.
  void ExpectEmpty() {
    Await("what was made without a session can be freed", [this] {
      (void)operator_->UnloadAll();
      const auto listed = operator_->ListGroups();
      for (const auto& group : listed.eg_info()) (void)operator_->DestroyGroup(group.eg().id());
      return operator_->ListNetworks().networks_size() == 0 &&
             operator_->ListGroups().eg_info_size() == 0;
    });
    Await("sessions end with their clients",
          [this] { return operator_->ListSessions().sessions_size() == 0; });
    Await("all that clients held is returned", [this] { return Held() == empty_; });
  }

 private:
  struct Amounts {
    uint64_t dram = 0;
    uint64_t pool = 0;
    uint64_t of_clients = 0;  // amounts of all kinds but for connections and calls
    bool operator==(const Amounts&) const = default;
  };

  static runtime::Limits SmallLimits() {
    return runtime::DefaultLimits({.memory_bytes = 512 * kMiB, .threads = 300});
  }
  static std::unique_ptr<runtime::Machine> MakeMachine(Clock& clock) {
    runtime::MachineOptions options;
    options.platform.simulate = "inf1.xlarge";
    options.pages_per_device = 16;
    options.allow_small_pages = true;
    return Must(runtime::Machine::Open(options, clock));
  }
  std::string socket_path() const { return folder_.File("nrtd.sock"); }

  Amounts Held() {
    Amounts amounts;
    runtime::Machine& machine = runtime_.machine();
    for (uint32_t channel = 0; channel < kDramChannels; ++channel)
      amounts.dram += machine.unit(0).used_bytes(channel);
    amounts.pool = machine.pool().Stats().used_bytes;
    const auto listed = operator_->ListClients();
    for (const auto& total : listed.totals()) {
      if (total.name() != "connections" && total.name() != "calls" &&
          total.name() != "message-bytes" && total.name() != "arriving-bytes")
        amounts.of_clients += total.amount();
    }
    return amounts;
  }
  static void Await(const char* promise, const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) Broken(promise);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  ScratchDirectory folder_;
  ClientProcesses processes_;  // made before any thread
  SteadyClock clock_;
  std::shared_ptr<runtime::SessionTable> sessions_;
  runtime::Runtime runtime_;
  const std::string reason_;
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
      io_.get_executor()};
  std::unique_ptr<service::Server> server_;
  std::thread io_thread_;
  std::unique_ptr<RtdClient> operator_;
  std::string shared_;
  Amounts empty_;
};

// Handles that the server has given to anybody.
struct Known {
  std::vector<uint32_t> networks = {1, 10001};
  std::vector<uint32_t> groups = {0, 0, 1};
  std::vector<uint64_t> sessions = {0, 0};
  std::vector<uint64_t> cookies = {1};
};

const std::vector<std::string>& Neffs() {
  static const std::vector<std::string> neffs = [] {
    using integration::TextOf;
    return std::vector<std::string>{
        TextOf(runtime::PipelineNeff(runtime::DoublingSpec(1, kFloats))),
        TextOf(runtime::PipelineNeff(runtime::DoublingSpec(3, kFloats))),
        TextOf(runtime::PipelineNeff(runtime::DoublingSpec(5, kFloats))),
        TextOf(runtime::NeffBytes(runtime::HostedContents(1, kFloats)))};
  }();
  return neffs;
}

// One client: a process, its connection, and what it has under way. Calls that break throw.
class FuzzedClient {
 public:
  FuzzedClient(Edge& edge, Known& known) : edge_(edge), known_(known) {}

  void Step(Script& script) {
    static constexpr std::array kActs = {
        &FuzzedClient::Load,       &FuzzedClient::Load,        &FuzzedClient::Infer,
        &FuzzedClient::Infer,      &FuzzedClient::Post,        &FuzzedClient::Post,
        &FuzzedClient::Collect,    &FuzzedClient::Collect,     &FuzzedClient::OpenSession,
        &FuzzedClient::EndSession, &FuzzedClient::CreateGroup, &FuzzedClient::DestroyGroup,
        &FuzzedClient::Run,        &FuzzedClient::Unload,      &FuzzedClient::Share,
        &FuzzedClient::Look,       &FuzzedClient::GiveUp,      &FuzzedClient::Disconnect,
        &FuzzedClient::Kill};
    const auto act = kActs[script.Below(kActs.size())];
    try {
      (this->*act)(script);
    } catch (const std::runtime_error& error) {
      // DEADLINE_EXCEEDED, as the client says it.
      if (std::string_view(error.what()).starts_with("gRPC status 4:"))
        Broken("every call ends; one did not");
      // The server may refuse a message, or end a connection.
      DropConnection();
    }
  }

  void Kill(Script&) {
    if (process_ != nullptr) process_->Kill();
    DropConnection();
    process_.reset();
  }

 private:
  RtdClient& client() {
    if (process_ == nullptr) process_ = edge_.processes().Start();
    if (client_ == nullptr) client_ = std::make_unique<RtdClient>(process_->Connect());
    return *client_;
  }
  void DropConnection() {
    pending_.clear();
    sessions_.clear();
    client_.reset();
  }
  void Disconnect(Script&) { DropConnection(); }

  void OpenSession(Script&) {
    sessions_.push_back(client().OpenSession());
    known_.sessions.push_back(sessions_.back()->Read().session_id());
  }
  void EndSession(Script& script) {
    if (sessions_.empty()) return;
    if (script.Flag()) sessions_.back()->WritesDone();
    sessions_.pop_back();
  }
  void Load(Script& script) {
    integration::LoadParts parts;
    parts.neff = Neffs()[script.Below(static_cast<uint32_t>(Neffs().size()))];
    parts.group = script.Of(known_.groups);
    parts.session = script.Of(known_.sessions);
    parts.ninfer = script.Below(16);
    parts.timeout_s = script.Below(4);
    std::vector<nrt::load_request> messages = LoadMessages(parts);
    switch (script.Below(8)) {
      case 0:  // bytes that are wrong
        for (nrt::load_request& message : messages) {
          if (!message.has_neff_chunk()) continue;
          std::string* const chunk = message.mutable_neff_chunk()->mutable_chunk();
          for (int i = 0; i < 8; ++i)
            (*chunk)[script.Number() % chunk->size()] = static_cast<char>(script.Byte());
        }
        break;
      case 1:  // messages that are missing, or come twice
        messages.erase(messages.begin() + script.Below(static_cast<uint32_t>(messages.size())));
        messages.push_back(messages[script.Below(static_cast<uint32_t>(messages.size()))]);
        break;
      case 2:
        messages[0].set_neff_size(script.Number());
        break;
      case 3:
        client().LoadAndCancel(messages);
        return;
      default:
        break;
    }
    const auto loaded = client().Load(messages);
    if (loaded.status().code() == 0) known_.networks.push_back(loaded.h_nn().id());
  }

  nrt::infer_request Request(Script& script) {
    nrt::infer_request request;
    request.mutable_h_nn()->set_id(script.Of(known_.networks));
    const uint8_t form = script.Byte();
    auto* const input = request.add_ifmap();
    input->set_name(form % 16 == 1 ? "z" : "x");
    if (form % 16 == 2) {
      input->mutable_buf_shm()->set_path(edge_.shared());
    } else {
      input->set_buf(std::string(form % 16 == 3 ? script.Byte() : kFloats * sizeof(float), '\1'));
    }
    if (form % 16 == 4) *request.add_ifmap() = *input;
    if (form % 16 == 5) {
      auto* const output = request.add_shm_ofmap();
      output->set_name("y");
      output->mutable_buf_shm()->set_path(edge_.shared());
    }
    request.set_loop_end_value(form % 16 == 6 ? static_cast<uint32_t>(script.Number()) : 0);
    return request;
  }
  void Infer(Script& script) {
    const nrt::infer_request request = Request(script);
    switch (script.Below(4)) {
      case 0:
        pending_.push_back(client().BeginInfer(request));
        break;
      case 1:
        (void)client().InferStream(std::vector(1 + script.Below(8), request));
        break;
      default:
        (void)client().Infer(request);
    }
  }
  void Post(Script& script) {
    const nrt::infer_request request = Request(script);
    if (script.Below(8) == 0) {
      client().PostAndCancel(request);
      return;
    }
    const auto posted = client().Post(request);
    if (posted.status().code() == 0) known_.cookies.push_back(posted.cookie());
  }
  void Collect(Script& script) {
    const uint64_t cookie = script.Of(known_.cookies);
    nrt::infer_wait_request request;
    request.set_cookie(cookie);
    switch (script.Below(6)) {
      case 0:
        pending_.push_back(client().BeginWait(cookie));
        break;
      case 1:
        (void)client().Poll(cookie);
        break;
      case 2:
        (void)client().CheckCompletion(known_.cookies);
        break;
      case 3:
        request.add_shm_ofmap()->set_name(script.Flag() ? "y" : "z");
        request.mutable_shm_ofmap(0)->mutable_buf_shm()->set_path(edge_.shared());
        (void)client().Wait(request);
        break;
      default:
        (void)client().Wait(cookie);
    }
  }
  void CreateGroup(Script& script) {
    const uint32_t cores = script.Below(6);
    if (script.Below(8) == 0) {
      client().CreateGroupAndCancel(cores);
      return;
    }
    const auto made = client().CreateGroup(cores, script.Of(known_.sessions));
    if (made.status().code() == 0) known_.groups.push_back(made.h_eg().id());
  }
  void DestroyGroup(Script& script) { (void)client().DestroyGroup(script.Of(known_.groups)); }
  void Run(Script& script) {
    const uint32_t network = script.Of(known_.networks);
    if (script.Flag()) {
      (void)client().Start(network);
    } else {
      (void)client().Stop(network);
    }
  }
  void Unload(Script& script) {
    const uint8_t how = script.Byte();
    const uint32_t network = script.Of(known_.networks);
    if (how % 8 == 0) {
      (void)client().UnloadAll();
    } else if (how % 8 == 1) {
      pending_.push_back(client().BeginUnload(network));
    } else {
      (void)client().Unload(network);
    }
  }
  void Share(Script& script) {
    if (script.Flag()) {
      (void)client().Unmap(edge_.shared());
      return;
    }
    nrt::shm_map_request request;
    request.set_path(script.Below(4) == 0 ? "/none" : edge_.shared());
    request.set_mmap_prot(script.Byte());
    (void)client().Map(request);
  }
  void Look(Script& script) {
    switch (script.Below(10)) {
      case 0:
        (void)client().ListNetworks();
        break;
      case 1:
        (void)client().ListClients();
        break;
      case 2:
        (void)client().ListSessions();
        break;
      case 3:
        (void)client().Health();
        break;
      case 4:
        (void)client().AllCounters();
        break;
      case 5:
        (void)client().Metrics(script.Byte());
        break;
      case 6:
        (void)client().CoreCounters(script.Byte());
        break;
      case 7:
        (void)client().RandomSeed(script.Of(known_.groups), script.Byte());
        break;
      case 8:
        (void)client().ListDevices();
        break;
      default:
        (void)client().ListGroups();
    }
  }
  void GiveUp(Script&) { pending_.clear(); }

  Edge& edge_;
  Known& known_;
  std::unique_ptr<ClientProcess> process_;
  std::unique_ptr<RtdClient> client_;
  std::vector<std::unique_ptr<integration::SessionStream>> sessions_;
  std::vector<std::unique_ptr<integration::PendingCall>> pending_;
};

Edge& TheEdge() {
  static auto* const edge = new Edge;  // the process ends with its threads
  return *edge;
}

void RunOne(ByteSpan input) {
  Edge& edge = TheEdge();
  Known known;
  std::vector<std::unique_ptr<FuzzedClient>> clients;
  for (size_t i = 0; i < kClients; ++i)
    clients.push_back(std::make_unique<FuzzedClient>(edge, known));
  Script script(input);
  for (size_t i = 0; i < kMostSteps && !script.empty(); ++i)
    clients[script.Below(kClients)]->Step(script);
  clients.clear();
  edge.ExpectEmpty();
}

}  // namespace
}  // namespace nrtd::fuzz

// The server lives as long as the process, and gRPC keeps what it frees with its threads.
extern "C" int __lsan_is_turned_off();
int __lsan_is_turned_off() {
  return 1;
}

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  (void)nrtd::fuzz::TheEdge();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  nrtd::fuzz::RunOne(nrtd::ByteSpan(reinterpret_cast<const std::byte*>(data), size));
  return 0;
}
