// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include <grpcpp/server.h>

#include "deploy/device_plugin/plugin_service.h"

namespace nrtd::deploy {

// Serves the plugin's socket and keeps it registered with the kubelet: a kubelet that restarts
// removes all sockets of its folder and expects to be told again.
class DevicePlugin {
 public:
  struct Options {
    std::string socket_folder = "/var/lib/kubelet/device-plugins";
    std::string resource = "aws.amazon.com/neuron";
    ResourceUnit unit = ResourceUnit::kDevice;
  };
  // What it is made of outlives it. `choices`, `use`: as PluginService's.
  DevicePlugin(const Options& options, NodeDevices& devices, Metrics& metrics,
               PodChoices* choices = nullptr, DeviceUse* use = nullptr)
      : options_(options),
        devices_(devices),
        service_(options.unit, devices, metrics, choices, use) {}
  ~DevicePlugin() { StopServing(); }

  // Looks at the devices and at the kubelet, and does what is to be done. Called again and again,
  // by one thread.
  void Tend();
  // Whether the kubelet knows of it. Threadsafe.
  bool is_registered() const { return registered_; }

 private:
  Result<void> Serve();
  void StopServing();
  Result<void> Register();
  std::string SocketPath() const;
  std::string KubeletPath() const;

  const Options options_;
  NodeDevices& devices_;
  PluginService service_;
  std::unique_ptr<grpc::Server> server_;
  // Who was told, and where this is reached: the sockets' inodes and dates.
  std::string kubelet_;
  std::string socket_;
  TimePoint registered_at_;
  SteadyClock clock_;
  std::string problem_;  // that was logged
  std::atomic<bool> registered_{false};
};

}  // namespace nrtd::deploy
