// SPDX-License-Identifier: Apache-2.0
//
// One node's devices under two resources: whole, and by their NeuronCores.
#include "deploy/device_plugin/device_use.h"

#include <optional>

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "deploy/device_plugin/plugin_service.h"
#include "test/base/scratch_directory.h"
#include "test/must.h"

namespace nrtd::deploy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kDevice = "aws.amazon.com/neuron";
constexpr const char* kCore = "aws.amazon.com/neuroncore";

// Tells who has which devices, as the kubelet does.
class PodResources final : public ::v1::PodResourcesLister::Service {
 public:
  explicit PodResources(const std::string& socket) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + socket, grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  grpc::Status List(grpc::ServerContext*, const ::v1::ListPodResourcesRequest*,
                    ::v1::ListPodResourcesResponse* response) override {
    MutexLock lock(mutex_);
    *response = listed_;
    return grpc::Status::OK;
  }
  void Add(const std::string& resource, const std::vector<std::string>& ids) {
    MutexLock lock(mutex_);
    auto& devices = *listed_.add_pod_resources()->add_containers()->add_devices();
    devices.set_resource_name(resource);
    for (const std::string& id : ids) devices.add_device_ids(id);
  }
  void Clear() {
    MutexLock lock(mutex_);
    listed_.Clear();
  }

 private:
  Mutex mutex_;
  ::v1::ListPodResourcesResponse listed_ NRTD_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Server> server_;
};

class DeviceUseTest : public ::testing::Test {
 protected:
  DeviceUseTest() {
    options_.socket = folder_.File("pods.sock");
    use_.emplace(options_);
    NodeDevices::Options node;
    node.simulate = "inf1.6xlarge";
    node_.emplace(Must(NodeDevices::Find(node)));
    devices_.emplace(ResourceUnit::kDevice, *node_, metrics_, nullptr, &*use_);
    cores_.emplace(ResourceUnit::kCore, *node_, metrics_, nullptr, &*use_);
  }
  void Refresh() {
    Must(use_->Refresh());
    devices_->Refresh();
    cores_->Refresh();
  }
  // What a kubelet would not give away, of the four devices and their cores.
  std::vector<std::string> Held() {
    std::vector<std::string> held;
    for (uint32_t device = 0; device < 4; ++device) {
      std::vector<std::string> ids{NodeDevices::Name(device)};
      for (uint32_t core = 0; core < kCoresOfDevice; ++core)
        ids.push_back(NodeDevices::Name(device, core));
      for (const std::string& id : ids)
        if (!use_->IsFree(id)) held.push_back(id);
    }
    return held;
  }
  static grpc::Status Allocate(PluginService& service, const std::vector<std::string>& ids,
                               v1beta1::AllocateResponse* response = nullptr) {
    v1beta1::AllocateRequest request;
    auto& container = *request.add_container_requests();
    for (const std::string& id : ids) container.add_devices_ids(id);
    v1beta1::AllocateResponse unused;
    return service.Allocate(nullptr, &request, response == nullptr ? &unused : response);
  }
  std::vector<std::string> PreferredCores(const std::set<uint32_t>& free, int count) {
    v1beta1::PreferredAllocationRequest request;
    auto& container = *request.add_container_requests();
    for (const uint32_t device : free)
      for (uint32_t core = 0; core < kCoresOfDevice; ++core)
        container.add_available_deviceids(NodeDevices::Name(device, core));
    container.set_allocation_size(count);
    v1beta1::PreferredAllocationResponse response;
    EXPECT_TRUE(cores_->GetPreferredAllocation(nullptr, &request, &response).ok());
    const auto& ids = response.container_responses(0).deviceids();
    return {ids.begin(), ids.end()};
  }

  ScratchDirectory folder_;
  DeviceUse::Options options_;
  PodResources kubelet_{folder_.File("pods.sock")};
  std::optional<DeviceUse> use_;
  Metrics metrics_;
  std::optional<NodeDevices> node_;
  std::optional<PluginService> devices_;
  std::optional<PluginService> cores_;
};

TEST_F(DeviceUseTest, WhoHasACoreHasItsDevice) {
  Refresh();
  EXPECT_THAT(Held(), IsEmpty());
  v1beta1::AllocateResponse response;
  ASSERT_TRUE(Allocate(*cores_, {"neuron1-core0", "neuron1-core1"}, &response).ok());
  EXPECT_EQ(response.container_responses(0).envs().at("AWS_NEURON_VISIBLE_DEVICES"), "1");
  EXPECT_THAT(Held(), ElementsAre("neuron1", "neuron1-core2", "neuron1-core3"));
  // The kubelet does not list it yet: the container is being started.
  Refresh();
  EXPECT_THAT(Held(), ElementsAre("neuron1", "neuron1-core2", "neuron1-core3"));
  EXPECT_THAT(Allocate(*devices_, {"neuron1"}).error_message(),
              HasSubstr("another container has the device of 'neuron1'"));
  EXPECT_FALSE(Allocate(*cores_, {"neuron1-core2"}).ok());
  EXPECT_THAT(metrics_.Page(), HasSubstr("neuron_device_plugin_cores{health=\"Unhealthy\"} 2\n"));
  EXPECT_THAT(metrics_.Page(), HasSubstr("neuron_device_plugin_devices{health=\"Unhealthy\"} 1\n"));
}

TEST_F(DeviceUseTest, AWholeDeviceTakesItsCores) {
  Refresh();
  ASSERT_TRUE(Allocate(*devices_, {"neuron0"}).ok());
  EXPECT_THAT(Held(),
              ElementsAre("neuron0-core0", "neuron0-core1", "neuron0-core2", "neuron0-core3"));
  EXPECT_FALSE(Allocate(*cores_, {"neuron0-core0", "neuron1-core0"}).ok());
  EXPECT_TRUE(Allocate(*cores_, {"neuron1-core0"}).ok());
}

TEST_F(DeviceUseTest, WhatIsInUseWhenThePluginStartsIsKnownFromTheKubelet) {
  kubelet_.Add(kCore, {"neuron2-core3"});
  kubelet_.Add(kDevice, {"neuron3"});
  kubelet_.Add("nvidia.com/gpu", {"neuron0"});
  EXPECT_FALSE(use_->is_known());
  Refresh();
  EXPECT_TRUE(use_->is_known());
  EXPECT_THAT(Held(),
              ElementsAre("neuron2", "neuron2-core0", "neuron2-core1", "neuron2-core2",
                          "neuron3-core0", "neuron3-core1", "neuron3-core2", "neuron3-core3"));
}

TEST_F(DeviceUseTest, WhatAContainerHadIsFreeWhenItHasEnded) {
  Refresh();
  ASSERT_TRUE(Allocate(*cores_, {"neuron1-core0"}).ok());
  kubelet_.Add(kCore, {"neuron1-core0"});
  Refresh();
  kubelet_.Clear();
  // Not seen yet; the kubelet is asked before anything is refused.
  EXPECT_THAT(Held(), ElementsAre("neuron1", "neuron1-core1", "neuron1-core2", "neuron1-core3"));
  EXPECT_TRUE(Allocate(*devices_, {"neuron1"}).ok());
  EXPECT_THAT(Held(),
              ElementsAre("neuron1-core0", "neuron1-core1", "neuron1-core2", "neuron1-core3"));
}

TEST_F(DeviceUseTest, PrefersCoresOfAsFewDevicesAsPossible) {
  EXPECT_THAT(PreferredCores({0, 1, 2, 3}, 2), ElementsAre("neuron0-core0", "neuron0-core1"));
  EXPECT_THAT(PreferredCores({0, 2, 3}, 5),
              ElementsAre("neuron2-core0", "neuron2-core1", "neuron2-core2", "neuron2-core3",
                          "neuron3-core0"));
}

TEST_F(DeviceUseTest, IdsOfTheOtherResourceAreNone) {
  EXPECT_EQ(Allocate(*cores_, {"neuron1"}).error_message(), "no core 'neuron1' on this node");
  EXPECT_EQ(Allocate(*devices_, {"neuron1-core0"}).error_message(),
            "no device 'neuron1-core0' on this node");
  EXPECT_EQ(Allocate(*cores_, {"neuron1-core4"}).error_message(),
            "no core 'neuron1-core4' on this node");
}

TEST(DeviceUse, WithoutTheKubeletsListNothingIsKnown) {
  DeviceUse use({.socket = "/nonexistent/kubelet.sock"});
  const auto asked = use.Refresh();
  ASSERT_FALSE(asked);
  EXPECT_THAT(asked.error().text, HasSubstr("/nonexistent/kubelet.sock"));
  EXPECT_FALSE(use.is_known());
}

}  // namespace
}  // namespace nrtd::deploy
