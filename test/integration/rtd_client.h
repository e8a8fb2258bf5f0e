// SPDX-License-Identifier: Apache-2.0
//
// A client of the daemon that sends what a test says and returns what the daemon answered, status
// and all. A transport error, or an answer that does not come within two minutes, throws
// std::runtime_error.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/unique_fd.h"
#include "proto/nrt/nmgr.pb.h"
#include "proto/nrt/nmgr_session_service.pb.h"
#include "proto/nrtd/v1/control.pb.h"

namespace nrtd::integration {

// One session_monitor stream. One thread at a time.
class SessionStream {
 public:
  struct Impl;
  explicit SessionStream(std::unique_ptr<Impl> impl);
  // Breaks the stream if Finish() was not called.
  ~SessionStream();

  // Throws when the stream has ended.
  nrt::session_monitor_response Read();
  bool AtEnd();  // nothing more comes
  void Write(const nrt::session_monitor_request& request);
  void WritesDone();
  int Finish();  // gRPC's status code

 private:
  std::unique_ptr<Impl> impl_;
};

// A call that nobody waits for.
class PendingCall {
 public:
  virtual ~PendingCall() = default;  // gives it up
};

// Threadsafe.
class RtdClient {
 public:
  // With a connection of its own.
  explicit RtdClient(const std::string& address);
  // As a process of another user would have it: what the daemon learns of a client is of the
  // moment of its connect(). Takes root.
  struct User {
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<gid_t> groups = {};
  };
  RtdClient(const std::string& socket_path, const User& user);
  // Over a connection that is there, non-blocking.
  explicit RtdClient(UniqueFd connection);
  ~RtdClient();

  nrt::load_response Load(const std::vector<nrt::load_request>& messages);
  // Sends everything, but not that this is all, then cancels the call: no answer can have left.
  void LoadAndCancel(const std::vector<nrt::load_request>& messages);
  nrt::unload_response Unload(uint32_t network);
  nrt::start_response Start(uint32_t network);
  nrt::stop_response Stop(uint32_t network);
  nrt::status UnloadAll();

  nrt::infer_response Infer(const nrt::infer_request& request);
  nrt::infer_post_response Post(const nrt::infer_request& request);
  // Asks so often at once, and gives up.
  void PostAndCancel(const nrt::infer_request& request, int count = 1);
  nrt::infer_response Wait(const nrt::infer_wait_request& request);
  nrt::infer_response Wait(uint64_t cookie);
  nrt::infer_response Poll(uint64_t cookie);
  std::unique_ptr<PendingCall> BeginInfer(const nrt::infer_request& request);
  std::unique_ptr<PendingCall> BeginWait(uint64_t cookie);
  std::unique_ptr<PendingCall> BeginUnload(uint32_t network);

  nrt::create_eg_response CreateGroup(uint32_t cores, uint64_t session = 0);
  void CreateGroupAndCancel(uint32_t cores);
  nrt::destroy_eg_response DestroyGroup(uint32_t group);
  nrt::out_list_egs ListGroups();

  nrt::shm_map_response Map(const nrt::shm_map_request& request);
  nrt::shm_unmap_response Unmap(const std::string& path);

  nrt::get_version_response GetVersion();
  nrt::read_nc_time_in_use_response CoreTime(uint32_t core);

  v1::ListNetworksResponse ListNetworks();
  v1::ListSessionsResponse ListSessions();
  v1::ListClientsResponse ListClients();
  v1::ListDevicesResponse ListDevices();
  v1::HealthResponse Health();

  nrt::infer_check_completion_response CheckCompletion(const std::vector<uint64_t>& cookies);
  nrt::read_nc_counters_response CoreCounters(uint32_t core);
  nrt::nmgr_counters InferenceCounters();
  nrt::read_all_counters_response AllCounters();
  nrt::read_all_metrics_response Metrics(uint32_t summarize_period);
  nrt::get_hw_counters_response HardwareCounters(const nrt::get_hw_counters_request& request);
  nrt::get_all_hw_counters_response AllHardwareCounters();
  nrt::random_seed_response RandomSeed(uint32_t group, uint32_t seed);
  nrt::set_static_transfer_adjustment_response SetTransferAdjustment(uint32_t count);

  std::unique_ptr<SessionStream> OpenSession();
  // Sends all requests and a half-close before it reads.
  std::vector<nrt::infer_response> InferStream(const std::vector<nrt::infer_request>& requests);

 private:
  struct Stubs;
  std::unique_ptr<Stubs> stubs_;
};

}  // namespace nrtd::integration
