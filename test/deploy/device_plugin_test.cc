// SPDX-License-Identifier: Apache-2.0
//
// The device plugin beside a kubelet's end of its API.
#include "deploy/device_plugin/device_plugin.h"

#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "deploy/cluster/pods.h"
#include "test/base/scratch_directory.h"
#include "test/deploy/api_stand_in.h"
#include "test/must.h"

namespace nrtd::deploy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

// Takes registrations, as the kubelet does.
class Kubelet final : public v1beta1::Registration::Service {
 public:
  explicit Kubelet(const std::string& folder) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + folder + "/kubelet.sock", grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  grpc::Status Register(grpc::ServerContext*, const v1beta1::RegisterRequest* request,
                        v1beta1::Empty*) override {
    MutexLock lock(mutex_);
    if (refuses_) return {grpc::StatusCode::FAILED_PRECONDITION, "not now"};
    registered_.push_back(*request);
    return grpc::Status::OK;
  }
  void Refuse(bool refuses) {
    MutexLock lock(mutex_);
    refuses_ = refuses;
  }
  std::vector<v1beta1::RegisterRequest> registered() {
    MutexLock lock(mutex_);
    return registered_;
  }

 private:
  Mutex mutex_;
  std::vector<v1beta1::RegisterRequest> registered_ NRTD_GUARDED_BY(mutex_);
  bool refuses_ NRTD_GUARDED_BY(mutex_) = false;
  std::unique_ptr<grpc::Server> server_;
};

class DevicePluginTest : public ::testing::Test {
 protected:
  void Make(const std::string& simulate) {
    NodeDevices::Options options;
    options.simulate = simulate;
    options.device_folder = folder_.File("dev");
    options.unhealthy_file = folder_.File("unhealthy");
    devices_.emplace(Must(NodeDevices::Find(options)));
    DevicePlugin::Options where;
    where.socket_folder = folder_.path();
    plugin_.emplace(where, *devices_, metrics_, choices_ ? &*choices_ : nullptr);
  }
  // A scheduler extender chooses the devices of this node's pods.
  void MakeWithExtender() {
    api_.AddNode("here", 4);
    client_ = Must(ApiServer::Make({api_.url(), "/nowhere"}));
    choices_.emplace(*client_, "here", "aws.amazon.com/neuron");
    Make("inf1.6xlarge");
  }
  void AddChosenPod(const std::string& name, const std::vector<uint32_t>& containers,
                    const std::string& devices, const std::string& at) {
    api_.AddPod(name, containers);
    api_.Annotate(name, kChosenDevices, devices);
    api_.Annotate(name, kChosenAt, at);
    api_.Bind(name, "here");
  }
  grpc::Status PreferredStatus(const std::vector<std::string>& available, int count,
                               std::vector<std::string>* chosen = nullptr) {
    v1beta1::PreferredAllocationRequest request;
    auto& container = *request.add_container_requests();
    for (const std::string& id : available) container.add_available_deviceids(id);
    container.set_allocation_size(count);
    v1beta1::PreferredAllocationResponse response;
    grpc::ClientContext context;
    grpc::Status status = Stub()->GetPreferredAllocation(&context, request, &response);
    if (status.ok() && chosen != nullptr) {
      const auto& ids = response.container_responses(0).deviceids();
      chosen->assign(ids.begin(), ids.end());
    }
    return status;
  }
  std::vector<std::string> Preferred(const std::vector<std::string>& available, int count) {
    std::vector<std::string> chosen;
    const grpc::Status status = PreferredStatus(available, count, &chosen);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return chosen;
  }
  std::unique_ptr<v1beta1::DevicePlugin::Stub> Stub() {
    return v1beta1::DevicePlugin::NewStub(grpc::CreateChannel("unix:" + folder_.File("neuron.sock"),
                                                              grpc::InsecureChannelCredentials()));
  }
  // The devices of the next list that is sent.
  static std::map<std::string, std::string> Next(
      grpc::ClientReader<v1beta1::ListAndWatchResponse>& reader) {
    v1beta1::ListAndWatchResponse list;
    std::map<std::string, std::string> devices;
    if (!reader.Read(&list)) return devices;
    for (const auto& device : list.devices()) devices[device.id()] = device.health();
    return devices;
  }
  grpc::Status Allocate(const std::vector<std::string>& ids, v1beta1::AllocateResponse* response) {
    v1beta1::AllocateRequest request;
    auto& container = *request.add_container_requests();
    for (const std::string& id : ids) container.add_devices_ids(id);
    grpc::ClientContext context;
    return Stub()->Allocate(&context, request, response);
  }

  ScratchDirectory folder_;
  ApiStandIn api_;
  std::unique_ptr<ApiServer> client_;
  std::optional<PodChoices> choices_;
  Metrics metrics_;
  std::optional<NodeDevices> devices_;
  std::optional<DevicePlugin> plugin_;
};

TEST_F(DevicePluginTest, RegistersItsResourceAndAgainWhenTheKubeletRestarts) {
  Make("inf1.6xlarge");
  plugin_->Tend();  // no kubelet yet
  EXPECT_FALSE(plugin_->is_registered());
  auto kubelet = std::make_unique<Kubelet>(folder_.path());
  kubelet->Refuse(true);
  plugin_->Tend();
  EXPECT_FALSE(plugin_->is_registered());
  kubelet->Refuse(false);
  plugin_->Tend();
  plugin_->Tend();  // told once
  ASSERT_EQ(kubelet->registered().size(), 1U);
  const v1beta1::RegisterRequest request = kubelet->registered()[0];
  EXPECT_EQ(request.version(), "v1beta1");
  EXPECT_EQ(request.endpoint(), "neuron.sock");
  EXPECT_EQ(request.resource_name(), "aws.amazon.com/neuron");
  EXPECT_TRUE(request.options().get_preferred_allocation_available());
  // It empties its folder when it starts.
  kubelet.reset();
  std::filesystem::remove(folder_.File("neuron.sock"));
  Kubelet next(folder_.path());
  plugin_->Tend();
  EXPECT_EQ(next.registered().size(), 1U);
  v1beta1::AllocateResponse response;
  EXPECT_TRUE(Allocate({"neuron0"}, &response).ok());
}

TEST_F(DevicePluginTest, ListsDevicesAndTellsWhenTheirHealthChanges) {
  Make("inf1.6xlarge");
  const Kubelet kubelet(folder_.path());
  plugin_->Tend();
  const auto stub = Stub();
  grpc::ClientContext context;
  const auto reader = stub->ListAndWatch(&context, {});
  EXPECT_THAT(Next(*reader),
              UnorderedElementsAre(Pair("neuron0", "Healthy"), Pair("neuron1", "Healthy"),
                                   Pair("neuron2", "Healthy"), Pair("neuron3", "Healthy")));
  std::ofstream(folder_.File("unhealthy")) << "# off for repair\n2\nneuron7\n";
  plugin_->Tend();
  EXPECT_EQ(Next(*reader).at("neuron2"), "Unhealthy");
  // What is not understood changes nothing.
  std::ofstream(folder_.File("unhealthy")) << "-1\n";
  EXPECT_FALSE(devices_->Health().at(2));
  EXPECT_THAT(metrics_.Page(), HasSubstr("neuron_device_plugin_devices{health=\"Unhealthy\"} 1\n"));
  std::filesystem::remove(folder_.File("unhealthy"));
  plugin_->Tend();
  EXPECT_EQ(Next(*reader).at("neuron2"), "Healthy");
  context.TryCancel();
}

TEST_F(DevicePluginTest, PrefersNeighbours) {
  Make("inf1.6xlarge");
  const Kubelet kubelet(folder_.path());
  plugin_->Tend();
  v1beta1::PreferredAllocationRequest request;
  auto& container = *request.add_container_requests();
  for (const char* id : {"neuron3", "neuron0", "neuron2"}) container.add_available_deviceids(id);
  container.set_allocation_size(2);
  v1beta1::PreferredAllocationResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(Stub()->GetPreferredAllocation(&context, request, &response).ok());
  EXPECT_THAT(response.container_responses(0).deviceids(), ElementsAre("neuron2", "neuron3"));
  container.add_available_deviceids("neuron9");
  grpc::ClientContext again;
  EXPECT_EQ(Stub()->GetPreferredAllocation(&again, request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(DevicePluginTest, AllocateTellsAContainerWhichDevicesItSimulates) {
  Make("inf1.6xlarge");
  const Kubelet kubelet(folder_.path());
  plugin_->Tend();
  v1beta1::AllocateResponse response;
  ASSERT_TRUE(Allocate({"neuron3", "neuron2"}, &response).ok());
  EXPECT_THAT(response.container_responses(0).envs(),
              UnorderedElementsAre(Pair("AWS_NEURON_VISIBLE_DEVICES", "2,3"),
                                   Pair("NEURON_RTD_SIM", "inf1.6xlarge")));
  EXPECT_EQ(response.container_responses(0).devices_size(), 0);
  EXPECT_EQ(Allocate({"neuron4"}, &response).error_message(), "no device 'neuron4' on this node");
}

TEST_F(DevicePluginTest, AllocateGivesAContainerTheNodesOfRealDevices) {
  std::filesystem::create_directories(folder_.File("dev"));
  for (const char* name : {"neuron0", "neuron1", "neuronx", "null"})
    std::ofstream(folder_.File("dev/" + std::string(name))) << "";
  Make("");
  const Kubelet kubelet(folder_.path());
  plugin_->Tend();
  v1beta1::AllocateResponse response;
  ASSERT_TRUE(Allocate({"neuron1"}, &response).ok());
  const auto& container = response.container_responses(0);
  EXPECT_THAT(container.envs(), UnorderedElementsAre(Pair("AWS_NEURON_VISIBLE_DEVICES", "1")));
  ASSERT_EQ(container.devices_size(), 1);
  EXPECT_EQ(container.devices(0).host_path(), "/dev/neuron1");
  EXPECT_EQ(container.devices(0).container_path(), "/dev/neuron1");
  EXPECT_EQ(container.devices(0).permissions(), "rw");
  // A device that goes away is unhealthy.
  std::filesystem::remove(folder_.File("dev/neuron1"));
  EXPECT_THAT(devices_->Health(), ElementsAre(Pair(0, true), Pair(1, false)));
}

TEST_F(DevicePluginTest, PrefersWhatTheExtenderHasChosen) {
  MakeWithExtender();
  const Kubelet kubelet(folder_.path());
  plugin_->Tend();
  AddChosenPod("later", {2}, "0,1", "20");
  AddChosenPod("sooner", {2}, "2,3", "10");
  AddChosenPod("running", {2}, "0,1", "5");
  api_.SetPhase("running", "Running");
  EXPECT_THAT(Preferred({"neuron0", "neuron1", "neuron2", "neuron3"}, 2),
              ElementsAre("neuron2", "neuron3"));
  // The kubelet has given those away: the other pod's turn.
  EXPECT_THAT(Preferred({"neuron0", "neuron1"}, 2), ElementsAre("neuron0", "neuron1"));
}

TEST_F(DevicePluginTest, SharesAPodsDevicesAmongItsContainers) {
  MakeWithExtender();
  const Kubelet kubelet(folder_.path());
  plugin_->Tend();
  AddChosenPod("pod", {1, 2}, "1,2,3", "10");
  EXPECT_THAT(Preferred({"neuron0", "neuron1", "neuron2", "neuron3"}, 1), ElementsAre("neuron1"));
  EXPECT_THAT(Preferred({"neuron0", "neuron2", "neuron3"}, 2), ElementsAre("neuron2", "neuron3"));
}

TEST_F(DevicePluginTest, ChoosesItselfWhereTheExtenderHasNot) {
  MakeWithExtender();
  const Kubelet kubelet(folder_.path());
  plugin_->Tend();
  EXPECT_THAT(Preferred({"neuron0", "neuron2", "neuron3"}, 2), ElementsAre("neuron2", "neuron3"));
  // Not what waits for another pod.
  api_.AddPod("old", {1});
  api_.Bind("old", "here");
  AddChosenPod("pair", {2}, "0,1", "10");
  EXPECT_THAT(Preferred({"neuron0", "neuron1", "neuron2", "neuron3"}, 1), ElementsAre("neuron2"));
}

TEST_F(DevicePluginTest, RefusesAPodWhoseDevicesAreNotAvailable) {
  MakeWithExtender();
  const Kubelet kubelet(folder_.path());
  plugin_->Tend();
  AddChosenPod("pod", {2}, "0,1", "10");
  EXPECT_EQ(
      PreferredStatus({"neuron0", "neuron2", "neuron3"}, 2).error_message(),
      "2 devices are wanted, and those that were chosen for pod default/pod are not available");
  api_.Fail(500);
  EXPECT_EQ(PreferredStatus({"neuron0", "neuron1"}, 2).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(DevicePluginTest, TellsTheExtenderWhichDevicesAreHealthy) {
  MakeWithExtender();
  const Kubelet kubelet(folder_.path());
  plugin_->Tend();
  EXPECT_EQ(api_.node("here")["metadata"]["annotations"][kHealthyDevices], "0,1,2,3");
  std::ofstream(folder_.File("unhealthy")) << "2\n";
  api_.Fail(500);
  plugin_->Tend();
  api_.Fail(0);
  plugin_->Tend();
  EXPECT_EQ(api_.node("here")["metadata"]["annotations"][kHealthyDevices], "0,1,3");
}

TEST(NodeDevices, RefusesAnUnknownInstance) {
  NodeDevices::Options options;
  options.simulate = "inf1.huge";
  EXPECT_THAT(NodeDevices::Find(options).error().text, HasSubstr("use inf1.xlarge"));
}

}  // namespace
}  // namespace nrtd::deploy
