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

// Threadsafe.
class RtdClient {
 public:
  // With a connection of its own.
  explicit RtdClient(const std::string& address);
  ~RtdClient();

  nrt::load_response Load(const std::vector<nrt::load_request>& messages);
  nrt::unload_response Unload(uint32_t network);
  nrt::start_response Start(uint32_t network);
  nrt::stop_response Stop(uint32_t network);
  nrt::status UnloadAll();

  nrt::infer_response Infer(const nrt::infer_request& request);
  nrt::infer_post_response Post(const nrt::infer_request& request);
  nrt::infer_response Wait(const nrt::infer_wait_request& request);
  nrt::infer_response Wait(uint64_t cookie);
  nrt::infer_response Poll(uint64_t cookie);

  nrt::create_eg_response CreateGroup(uint32_t cores, uint64_t session = 0);
  nrt::destroy_eg_response DestroyGroup(uint32_t group);
  nrt::out_list_egs ListGroups();

  nrt::shm_map_response Map(const nrt::shm_map_request& request);
  nrt::shm_unmap_response Unmap(const std::string& path);

  nrt::get_version_response GetVersion();
  nrt::read_nc_time_in_use_response CoreTime(uint32_t core);

  v1::ListNetworksResponse ListNetworks();
  v1::ListSessionsResponse ListSessions();
  v1::ListDevicesResponse ListDevices();
  v1::HealthResponse Health();

  // The answers of all calls of nmgr_v1 that are not implemented yet, by name.
  std::map<std::string, nrt::status> UnimplementedCalls();
  // The one whose response has no status: gRPC's status code.
  int ReadInferenceCounters();

  std::unique_ptr<SessionStream> OpenSession();

 private:
  struct Stubs;
  std::unique_ptr<Stubs> stubs_;
};

}  // namespace nrtd::integration
