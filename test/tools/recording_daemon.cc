// SPDX-License-Identifier: Apache-2.0
#include "test/tools/recording_daemon.h"

#include <cstdlib>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <grpc/grpc.h>

namespace nrtd::testing {

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "nrtd_tools_XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

using grpc::ServerContext;
using grpc::Status;

class RecordingDaemon::Nmgr final : public nrt::nmgr_v1::Service {
 public:
  explicit Nmgr(RecordingDaemon& daemon) : daemon_(daemon), answers_(daemon.answers_) {}

  Status load(ServerContext*, grpc::ServerReader<nrt::load_request>* reader,
              nrt::load_response* response) override {
    nrt::load_request request;
    size_t count = 0;
    while (count < answers_.load_messages_read && reader->Read(&request)) {
      ++count;
      MutexLock lock(daemon_.mutex_);
      daemon_.load_requests_.push_back(request);
    }
    *response->mutable_status() = answers_.status;
    if (answers_.status.code() == 0) response->mutable_h_nn()->set_id(answers_.network_id);
    return Status::OK;
  }
  Status unload(ServerContext*, const nrt::unload_request* request,
                nrt::unload_response* response) override {
    return Answer(fmt::format("unload {}", request->h_nn().id()), *response->mutable_status());
  }
  Status start(ServerContext*, const nrt::start_request* request,
               nrt::start_response* response) override {
    return Answer(fmt::format("start {}", request->h_nn().id()), *response->mutable_status());
  }
  Status stop(ServerContext*, const nrt::stop_request* request,
              nrt::stop_response* response) override {
    return Answer(fmt::format("stop {}", request->h_nn().id()), *response->mutable_status());
  }
  Status create_eg(ServerContext*, const nrt::create_eg_request* request,
                   nrt::create_eg_response* response) override {
    response->mutable_h_eg()->set_id(7);
    response->set_nc_count(request->nc_count() == 0 ? 4 : request->nc_count());
    return Answer(fmt::format("create_eg {}", request->nc_count()), *response->mutable_status());
  }
  Status destroy_eg(ServerContext*, const nrt::destroy_eg_request* request,
                    nrt::destroy_eg_response* response) override {
    return Answer(fmt::format("destroy_eg {}", request->h_eg().id()), *response->mutable_status());
  }
  Status list_egs(ServerContext*, const nrt::empty*, nrt::out_list_egs* response) override {
    *response = answers_.groups;
    return Answer("list_egs", *response->mutable_status());
  }
  Status unload_all(ServerContext*, const nrt::empty*, nrt::status* response) override {
    return Answer("unload_all", *response);
  }
  Status infer_post(ServerContext*, const nrt::infer_request* request,
                    nrt::infer_post_response* response) override {
    posted_ = *request;
    response->set_cookie(1);
    return Status::OK;
  }
  Status infer_wait(ServerContext*, const nrt::infer_wait_request*,
                    nrt::infer_response* response) override {
    if (answers_.infer) answers_.infer(posted_, *response);
    return Status::OK;
  }
  Status infer(ServerContext*, const nrt::infer_request* request,
               nrt::infer_response* response) override {
    *response->mutable_status() = answers_.status;
    if (answers_.infer) answers_.infer(*request, *response);
    return Status::OK;
  }
  Status read_nc_time_in_use(ServerContext*, const nrt::read_nc_time_in_use_request* request,
                             nrt::read_nc_time_in_use_response* response) override {
    response->mutable_nc_time_in_use()->set_virtual_nc_id(request->vnc_id());
    if (answers_.busy_ns)
      response->mutable_nc_time_in_use()->set_time_in_use(answers_.busy_ns(request->vnc_id()));
    *response->mutable_status() = answers_.status;
    return Status::OK;
  }
  Status get_version(ServerContext*, const nrt::get_version_request*,
                     nrt::get_version_response* response) override {
    response->mutable_runtime_version()->set_full_version("1.0.0.0");
    return Status::OK;
  }

 private:
  Status Answer(std::string call, nrt::status& status) {
    daemon_.Record(std::move(call));
    status = answers_.status;
    return Status::OK;
  }

  RecordingDaemon& daemon_;
  const Answers& answers_;
  nrt::infer_request posted_;  // the last one
};

class RecordingDaemon::Control final : public v1::Control::Service {
 public:
  explicit Control(const Answers& answers) : answers_(answers) {}

  Status ListNetworks(ServerContext*, const v1::ListNetworksRequest*,
                      v1::ListNetworksResponse* response) override {
    *response = answers_.networks;
    return Status::OK;
  }
  Status ListDevices(ServerContext*, const v1::ListDevicesRequest*,
                     v1::ListDevicesResponse* response) override {
    *response = answers_.devices;
    return Status::OK;
  }
  Status Health(ServerContext*, const v1::HealthRequest*, v1::HealthResponse* response) override {
    *response = answers_.health;
    return Status::OK;
  }

 private:
  const Answers& answers_;
};

RecordingDaemon::RecordingDaemon(Answers answers, bool with_control)
    : address_("unix:" + folder_.File("nrtd.sock")), answers_(std::move(answers)) {
  // Never undone: gRPC's own shutdown would wait up to 10 s for a thread that polls after a large
  // message.
  static const bool initialized = (grpc_init(), true);
  (void)initialized;
  nmgr_ = std::make_unique<Nmgr>(*this);
  control_ = std::make_unique<Control>(answers_);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
  builder.SetMaxReceiveMessageSize(-1);
  builder.RegisterService(nmgr_.get());
  if (with_control) builder.RegisterService(control_.get());
  server_ = builder.BuildAndStart();
  if (!server_) throw std::runtime_error("cannot listen on " + address_);
}

RecordingDaemon::~RecordingDaemon() {
  server_->Shutdown();
}

void RecordingDaemon::Record(std::string call) {
  MutexLock lock(mutex_);
  calls_.push_back(std::move(call));
}

std::vector<nrt::load_request> RecordingDaemon::LoadRequests() {
  MutexLock lock(mutex_);
  return load_requests_;
}

std::vector<std::string> RecordingDaemon::Calls() {
  MutexLock lock(mutex_);
  return calls_;
}

}  // namespace nrtd::testing
