// SPDX-License-Identifier: Apache-2.0
#include "deploy/device_plugin/device_plugin.h"

#include <algorithm>
#include <chrono>

#include <grpcpp/grpcpp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

namespace nrtd::deploy {
namespace {

constexpr auto kPatience = std::chrono::seconds(5);
constexpr auto kForgotten = std::chrono::seconds(10);

// Tells one socket from another at the same path; empty: there is none.
std::string IdentityOf(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return "";
  return fmt::format("{} {} {}", status.st_ino, status.st_ctim.tv_sec, status.st_ctim.tv_nsec);
}

}  // namespace

// "neuron.sock" for aws.amazon.com/neuron.
std::string DevicePlugin::SocketPath() const {
  const std::string name = options_.resource.substr(options_.resource.rfind('/') + 1);
  return options_.socket_folder + "/" + name + ".sock";
}

std::string DevicePlugin::KubeletPath() const {
  return options_.socket_folder + "/kubelet.sock";
}

Result<void> DevicePlugin::Serve() {
  StopServing();
  if (SocketPath().size() >= sizeof(sockaddr_un::sun_path)) {
    return Fail(Nerr::kInvalid, "{} is too long for a socket: choose another --socket-folder",
                SocketPath());
  }
  (void)::unlink(SocketPath().c_str());  // of a plugin that was killed
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("unix:" + SocketPath(), grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service_);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr || port == 0)
    return Fail(Nerr::kFail, "cannot listen on {}: may this write there?", SocketPath());
  return {};
}

void DevicePlugin::StopServing() {
  if (server_ == nullptr) return;
  // Streams end with the connection.
  server_->Shutdown(std::chrono::system_clock::now());
  server_.reset();
}

Result<void> DevicePlugin::Register() {
  const auto stub = v1beta1::Registration::NewStub(
      grpc::CreateChannel("unix:" + KubeletPath(), grpc::InsecureChannelCredentials()));
  v1beta1::RegisterRequest request;
  request.set_version("v1beta1");
  request.set_endpoint(SocketPath().substr(options_.socket_folder.size() + 1));
  request.set_resource_name(options_.resource);
  request.mutable_options()->set_get_preferred_allocation_available(true);
  v1beta1::Empty answer;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  const grpc::Status status = stub->Register(&context, request, &answer);
  if (status.ok()) return {};
  return Fail(Nerr::kFail, "the kubelet at {} refuses {}: {}", KubeletPath(), options_.resource,
              status.error_message());
}

void DevicePlugin::Tend() {
  service_.Refresh();
  const std::string kubelet = IdentityOf(KubeletPath());
  const bool is_where_it_was = kubelet == kubelet_ && IdentityOf(SocketPath()) == socket_;
  // A kubelet that has ended its watch has forgotten the resource.
  const auto unwatched = service_.WithoutWatchSince();
  const bool is_forgotten =
      unwatched && clock_.Now() - std::max(*unwatched, registered_at_) > kForgotten;
  if (registered_ && is_where_it_was && !is_forgotten) return;
  registered_ = false;
  const auto done = [&]() -> Result<void> {
    if (kubelet.empty())
      return Fail(Nerr::kFail, "waiting for the kubelet: there is no {}", KubeletPath());
    NRTD_TRY(Serve());
    return Register();
  }();
  if (done) {
    kubelet_ = kubelet;
    socket_ = IdentityOf(SocketPath());
    registered_at_ = clock_.Now();
    registered_ = true;
    problem_.clear();
    const size_t count = devices_.Health().size();
    Log(count > 0 ? LogLevel::kInfo : LogLevel::kWarning, "DevicePlugin",
        "registered {} with the kubelet: {} devices{}", options_.resource, count,
        devices_.is_simulated() ? ", simulated" : "");
  } else if (done.error().text != problem_) {
    problem_ = done.error().text;
    Log(LogLevel::kWarning, "DevicePlugin", "{}", AsIs(problem_));
  }
}

}  // namespace nrtd::deploy
