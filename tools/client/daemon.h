// SPDX-License-Identifier: Apache-2.0
//
// A client of one daemon: what every tool here talks through. gRPC stays behind it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "base/sizes.h"
#include "proto/nrt/nmgr.pb.h"
#include "proto/nrtd/v1/control.pb.h"

namespace nrtd::rpc {
class CallQueue;
}

namespace nrtd::client {

// From connect() to the first answer. A daemon that is there answers get_version in a millisecond;
// a person at a terminal gives up soon after this.
inline constexpr Duration kConnectTimeout = std::chrono::seconds(3);
// Calls that only read or book-keep. They wait for no device, but perhaps for a load that holds a
// lock.
inline constexpr Duration kListTimeout = std::chrono::seconds(10);
// Load, start, stop, unload and infer have no deadline here: the daemon has its own.

// What the TensorFlow plugin sends at once.
inline constexpr uint64_t kNeffChunk = kMiB;

struct ConnectOptions {
  Duration timeout = kConnectTimeout;
  // Keep trying until `timeout` where nothing listens yet, rather than failing at once.
  bool wait_for_daemon = false;
  // Use a connection of its own, where gRPC would share one among all clients of an address.
  bool own_connection = false;
  // Where the ends of sessions and of StartInfer() come from. It runs, and is stopped after them.
  rpc::CallQueue* queue = nullptr;
};

// Gets the end of an inference; `response` is filled in with whatever came. Once.
using InferDone = std::function<void(Result<void> ended, nrt::infer_response& response)>;

struct LoadOptions {
  std::string neff_path;
  std::string_view neff_bytes;  // instead of a file; they outlive the call
  bool by_path = false;         // send the absolute path and let the daemon read the file
  std::optional<uint32_t> group_id;
  std::optional<uint64_t> session_id;
  std::optional<uint32_t> ninfer;
  std::optional<uint32_t> timeout_s;
};

struct Connection;

// What belongs to it the daemon frees when it ends: with this object, or with the process. One that
// was moved from has none.
class Session {
 public:
  class Stream;
  explicit Session(std::shared_ptr<Stream> stream);
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  uint64_t id() const;

 private:
  std::shared_ptr<Stream> stream_;
};

// The text of every Error is ready to print behind the tool's name:
//   "load: NERR_INVALID (2): Wrong NEFF file size"          the daemon's answer; code is its code
//   "nothing answers at unix:/run/neuron.sock: ..."         code is kFail
// A method of the control service fails with kUnsupportedVersion if the daemon has no such service.
//
// Threadsafe after Connect(); calls block the calling thread.
class Daemon {
 public:
  // Fails unless something at `address`, as ResolveAddress gives it, answers a call in time.
  static Result<Daemon> Connect(const std::string& address, const ConnectOptions& options = {});

  Daemon(Daemon&&) noexcept;
  Daemon& operator=(Daemon&&) noexcept;
  ~Daemon();

  const std::string& address() const;
  // Whether a call failed to reach the daemon, because it has exited or closed the connection. The
  // session is over then, too.
  bool is_lost() const;

  // Streams a NEFF in the order of the TensorFlow plugin: group, session, size, parameters, chunks
  // of kNeffChunk. Returns the network's id. kInvalid if the file cannot be read.
  Result<uint32_t> Load(const LoadOptions& options);
  // For a daemon with ConnectOptions::queue. `framework` is what lists of sessions show. `on_end`
  // is called once, by one of the queue's threads, when the daemon has ended the session or has
  // gone; not any more when the Session has been destroyed, which `on_end` must not do.
  Result<Session> OpenSession(const std::string& framework, std::function<void()> on_end);
  Result<void> Unload(uint32_t network_id);
  Result<void> Start(uint32_t network_id);
  Result<void> Stop(uint32_t network_id);
  // `response` is filled in with whatever came, also when the result is an Error: outputs come with
  // kInferCompletedWithNumErr.
  Result<void> Infer(const nrt::infer_request& request, nrt::infer_response& response);
  // The same; kTimeout when `timeout` has passed, which cancels it.
  Result<void> InferWithin(Duration timeout, const nrt::infer_request& request,
                           nrt::infer_response& response);
  // The same without waiting, for a daemon with ConnectOptions::queue: one of the queue's threads
  // calls `done`. It has handed the queue over before it decodes more than
  // rpc::kShortMessage.
  void StartInfer(Duration timeout, const nrt::infer_request& request, InferDone done);

  // Begins an inference; the cookie to wait for it with, once.
  Result<uint64_t> Post(const nrt::infer_request& request);
  Result<void> Wait(uint64_t cookie, nrt::infer_response& response);
  // A name of shm_open(3), for reading and writing; of a session, if one is named.
  Result<void> MapSharedMemory(const std::string& path, uint64_t session_id = 0);
  Result<void> UnmapSharedMemory(const std::string& path);

  // 0: as large as possible. Of a session, if one is named.
  Result<nrt::create_eg_response> CreateGroup(uint32_t core_count, uint64_t session_id = 0);
  Result<void> DestroyGroup(uint32_t group_id);
  Result<nrt::out_list_egs> ListGroups();
  Result<void> UnloadAll();
  Result<uint64_t> CoreBusyNs(uint32_t virtual_core);

  Result<v1::ListNetworksResponse> ListNetworks();
  Result<v1::ListClientsResponse> ListClients();
  // Of an operator: ends the client's connections and frees all that it made.
  Result<void> Evict(uint64_t client_id);
  Result<v1::ListDevicesResponse> ListDevices();
  Result<v1::HealthResponse> Health();
  // kInvalidHandle if the daemon has no such network.
  Result<v1::Network> FindNetwork(uint32_t network_id);

 private:
  explicit Daemon(std::unique_ptr<Connection> connection);
  std::unique_ptr<Connection> connection_;
};

}  // namespace nrtd::client
