// SPDX-License-Identifier: Apache-2.0
//
// Who has which device, on a node that gives them out under two resources: whole, and by their
// NeuronCores.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "proto/kubelet/pod_resources.grpc.pb.h"

namespace nrtd::deploy {

// A device belongs to one daemon, and so to one container: while a container holds any of its
// cores, the others are withheld. The kubelet does not report when a container releases its
// devices, so we ask it. Threadsafe.
class DeviceUse {
 public:
  struct Options {
    std::string socket = "/var/lib/kubelet/pod-resources/kubelet.sock";
    std::string devices = "aws.amazon.com/neuron";  // the resources' names
    std::string cores = "aws.amazon.com/neuroncore";
  };
  explicit DeviceUse(const Options& options);

  // Asks the kubelet. kFail: it does not answer, and what was known stays.
  Result<void> Refresh();
  // Whether Refresh() ever succeeded.
  bool is_known() const;
  // Whether a container may be given this part of a device.
  bool IsFree(const std::string& id) const;
  // A container is given these ids of the node, which it then has. kResource: another one has part
  // of one of the devices; errors of Refresh().
  Result<void> Give(const std::set<std::string>& ids);

 private:
  // What one container has of a device.
  struct Use {
    std::set<std::string> ids;
    TimePoint given;  // until then the kubelet need not list it yet; in the past: it does
  };
  Result<void> TryGive(const std::set<std::string>& ids);
  const Use* UseOf(const std::string& id) const NRTD_REQUIRES(mutex_);

  const Options options_;
  const std::unique_ptr<::v1::PodResourcesLister::Stub> kubelet_;
  SteadyClock clock_;
  mutable Mutex mutex_;
  bool known_ NRTD_GUARDED_BY(mutex_) = false;
  std::map<uint32_t, Use> uses_ NRTD_GUARDED_BY(mutex_);  // by device
};

}  // namespace nrtd::deploy
