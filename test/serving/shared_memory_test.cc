// SPDX-License-Identifier: Apache-2.0
//
// Tensors between tensorflow_model_server_neuron and the daemon (NEURON_RTD_SHM_MAP).
#include <thread>

#include <sys/statvfs.h>

#include "base/sizes.h"
#include "test/must.h"
#include "test/serving/model_server_fixture.h"
#include "tools/client/daemon.h"
#include "tools/client/shared_tensor.h"

namespace nrtd::serving {
namespace {

constexpr int64_t kImageFloats = 3 * 224 * 224;

// A model that takes three images and answers the sums of their largest elements.
class SharedMemoryTest : public ModelServerTest {
 protected:
  void StartWith(const std::string& setting) {
    const auto compiled = nrtd::testing::RunBinary(
        "neuron-cc",
        {"compile", std::string(NRTD_SOURCE_DIR) + "/models/images/three_images.onnx",
         "--fp32-cast", "none", "--saved-model", File("images"), "--model-name", "images"});
    ASSERT_EQ(compiled.exit_code, 0) << compiled.err;
    environment_ = {"NEURON_RTD_SHM_MAP=" + setting};
    RestartWithModels("model_config_list { config { name: 'images' base_path: '" + File("images") +
                          "' model_platform: 'tensorflow' } }",
                      {});
  }
  static tfs::PredictRequest Images(float value) {
    tfs::PredictRequest request;
    request.mutable_model_spec()->set_name("images");
    for (const char* name : {"a", "b", "c"}) {
      tensorflow::TensorProto& input = (*request.mutable_inputs())[name];
      input.set_dtype(tensorflow::DT_FLOAT);
      for (const int64_t size : {1, 3, 224, 224})
        input.mutable_tensor_shape()->add_dim()->set_size(size);
      const std::vector<float> image(kImageFloats, value);
      input.set_tensor_content(
          std::string(reinterpret_cast<const char*>(image.data()), image.size() * sizeof(float)));
    }
    return request;
  }
  void ExpectSum(float value) {
    tfs::PredictResponse response;
    const grpc::Status status = Predict(Images(value), &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_THAT(response.outputs().at("y").float_val(),
                ::testing::AllOf(::testing::SizeIs(12), ::testing::Each(3 * value)));
  }
  int Mappings() {
    auto asked = Must(client::Daemon::Connect(address()));
    const auto listed = Must(asked.ListClients());
    int mappings = 0;
    for (const auto& account : listed.accounts()) mappings += account.mappings_size();
    return mappings;
  }
};

TEST_F(SharedMemoryTest, LargeTensorsGoThroughIt) {
  StartWith("yes");
  ExpectSum(1.5F);
  EXPECT_EQ(Mappings(), 3);
  // The same pieces again.
  ExpectSum(-2);
  EXPECT_EQ(Mappings(), 3);
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([this, i] {
      for (int round = 0; round < 10; ++round) ExpectSum(static_cast<float>(10 * i + round));
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_LE(Mappings(), 3 * 2);  // two inferences at once
  StopServer();
  EXPECT_EQ(Mappings(), 0);
  StartServer();
}

// Touching memory that is only promised ends a process.
TEST_F(SharedMemoryTest, MoreThanThereIsIsRefusedBeforeItIsTouched) {
  struct statvfs room {};
  ASSERT_EQ(::statvfs("/dev/shm", &room), 0);
  auto daemon = Must(client::Daemon::Connect(address()));
  const auto tensor = client::SharedTensor::Create(daemon, room.f_blocks * room.f_frsize + kMiB);
  ASSERT_FALSE(tensor);
  EXPECT_EQ(tensor.error().code, Nerr::kResource);
}

TEST_F(SharedMemoryTest, WithoutItTensorsGoInTheMessage) {
  StartWith("no");
  ExpectSum(1.5F);
  EXPECT_EQ(Mappings(), 0);
}

TEST_F(SharedMemoryTest, WhereTheDaemonRefusesTensorsGoInTheMessage) {
  RestartDaemon({"--client-limit", "mappings=0"});
  StartWith("yes");
  ExpectSum(1.5F);
  ExpectSum(2);
  EXPECT_EQ(Mappings(), 0);
  const std::string log = server_->Log();
  const std::string said = "the daemon shares no memory";
  const size_t at = log.find(said);
  ASSERT_NE(at, std::string::npos) << log;
  EXPECT_EQ(log.find(said, at + 1), std::string::npos) << "it is said once";
}

}  // namespace
}  // namespace nrtd::serving
