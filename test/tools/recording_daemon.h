// SPDX-License-Identifier: Apache-2.0
//
// A real gRPC server on a real unix socket that records what clients send and answers what the test
// has set. It stands for the wire, not for a daemon: the daemon has tests of its own.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "base/mutex.h"
#include "proto/nrt/nmgr_service.grpc.pb.h"
#include "proto/nrtd/v1/control.grpc.pb.h"

namespace nrtd::testing {

// A fresh folder under the system's temporary one, removed with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string File(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

// What the server answers. Set before Start(); handlers run on gRPC's threads.
struct Answers {
  nrt::status status;               // of every call of nmgr_v1 that has one
  uint32_t network_id = 10001;      // of load
  size_t load_messages_read = ~0u;  // answer load after that many messages, without reading on
  nrt::out_list_egs groups;
  std::function<void(const nrt::infer_request&, nrt::infer_response&)> infer;
  std::function<uint64_t(uint32_t virtual_core)> busy_ns;
  v1::ListNetworksResponse networks;
  v1::ListDevicesResponse devices;
  v1::HealthResponse health;
};

class RecordingDaemon {
 public:
  explicit RecordingDaemon(Answers answers, bool with_control = true);
  ~RecordingDaemon();

  const std::string& address() const { return address_; }

  // The messages of all loads, in the order they came in.
  std::vector<nrt::load_request> LoadRequests();
  // "unload 10001" and so on, in the order they came in.
  std::vector<std::string> Calls();

 private:
  class Nmgr;
  class Control;

  void Record(std::string call);

  TemporaryFolder folder_;
  std::string address_;
  const Answers answers_;
  Mutex mutex_;
  std::vector<nrt::load_request> load_requests_ NRTD_GUARDED_BY(mutex_);
  std::vector<std::string> calls_ NRTD_GUARDED_BY(mutex_);
  std::unique_ptr<Nmgr> nmgr_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace nrtd::testing
