// SPDX-License-Identifier: Apache-2.0
//
// What the tools show, character for character as the public user guide prints it, and the numbers
// that they work out for it.
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/npy.h"
#include "bench/report.h"
#include "test/tools/recording_daemon.h"
#include "tools/digits_demo/dataset.h"
#include "tools/digits_demo/picture.h"
#include "tools/neuron_cli/listing.h"
#include "tools/neuron_top/snapshot.h"

namespace nrtd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Place {
  uint32_t device;
  uint32_t core;
  uint32_t count;
};

void AddNetwork(v1::ListNetworksResponse& response, uint32_t id, const std::string& uuid,
                v1::NetworkState state, Place place, const std::string& name) {
  v1::Network& network = *response.add_networks();
  network.set_id(id);
  network.set_uuid(uuid);
  network.set_state(state);
  network.set_name(name);
  network.set_core_count(place.count);
  // The second core of a network comes first here: the listing looks for the lowest.
  for (uint32_t i = place.count; i-- > 0;) {
    v1::Subgraph& subgraph = *network.add_subgraphs();
    subgraph.set_device_index(place.device);
    subgraph.set_core_index(place.core + i);
    subgraph.set_virtual_core(place.device * 4 + place.core + i);
  }
}

TEST(ListModelTest, LooksAsInTheGuide) {
  v1::ListNetworksResponse networks;
  AddNetwork(networks, 10006, "529c31da0b0411ea95730288cac7f65cb03b0afc627f",
             v1::NETWORK_STATE_RUNNING, {0, 0, 0}, "t-test0_5conv_h1_cpu");
  AddNetwork(networks, 10007, "6a9726", v1::NETWORK_STATE_RUNNING, {0, 2, 2},
             "onv_h1_2tpb_cpu_2tpb");
  AddNetwork(networks, 10008, "63c43dd60b0411eaa9160288cac7f65ca05f", v1::NETWORK_STATE_RUNNING,
             {1, 0, 1}, "test0_1_concat_multi");
  AddNetwork(networks, 10009, "63c43dd60b0411eaa9160288cac7f65ce078", v1::NETWORK_STATE_RUNNING,
             {1, 1, 1}, "test0_1_concat_multi");
  AddNetwork(networks, 10010, "63c43dd60b0411eaa9160288cac7f65c30330808637f",
             v1::NETWORK_STATE_STANDBY, {0, 0, 1}, "test0_1_concat_multi");
  AddNetwork(networks, 10011, "63c43dd60b0411eaa9160288cac7f65c30", v1::NETWORK_STATE_STANDBY,
             {1, 0, 1}, "test0_1_concat_multi");
  // clang-format off
  EXPECT_EQ(cli::ModelTable(networks),
"+----------------------------------------------+----------+--------------+---------------+-------+-------+----------------------+\n"
"|                     UUID                     | MODEL ID | MODEL STATUS | NEURON DEVICE |  NC   |  NC   |         NAME         |\n"
"|                                              |          |              |  START INDEX  | INDEX | COUNT |                      |\n"
"+----------------------------------------------+----------+--------------+---------------+-------+-------+----------------------+\n"
"| 63c43dd60b0411eaa9160288cac7f65c30           |    10011 | STANDBY      |             1 |     0 |     1 | test0_1_concat_multi |\n"
"| 63c43dd60b0411eaa9160288cac7f65c30330808637f |    10010 | STANDBY      |             0 |     0 |     1 | test0_1_concat_multi |\n"
"| 63c43dd60b0411eaa9160288cac7f65ce078         |    10009 | READY        |             1 |     1 |     1 | test0_1_concat_multi |\n"
"| 63c43dd60b0411eaa9160288cac7f65ca05f         |    10008 | READY        |             1 |     0 |     1 | test0_1_concat_multi |\n"
"| 6a9726                                       |    10007 | READY        |             0 |     2 |     2 | onv_h1_2tpb_cpu_2tpb |\n"
"| 529c31da0b0411ea95730288cac7f65cb03b0afc627f |    10006 | READY        |             0 |     0 |     0 | t-test0_5conv_h1_cpu |\n"
"+----------------------------------------------+----------+--------------+---------------+-------+-------+----------------------+\n");
  // clang-format on
}

TEST(ListModelTest, NamesEveryStateInCapitals) {
  EXPECT_EQ(cli::ModelStatus(v1::NETWORK_STATE_RUNNING), "READY");
  EXPECT_EQ(cli::ModelStatus(v1::NETWORK_STATE_LOADING), "LOADING");
  EXPECT_EQ(cli::ModelStatus(v1::NETWORK_STATE_FAILED), "FAILED");
  EXPECT_EQ(cli::ModelStatus(v1::NETWORK_STATE_UNSPECIFIED), "UNKNOWN");
  EXPECT_EQ(cli::ModelStatus(static_cast<v1::NetworkState>(99)), "UNKNOWN");
}

TEST(ListModelTest, JsonHasTheTensors) {
  v1::ListNetworksResponse networks;
  AddNetwork(networks, 10001, "ab", v1::NETWORK_STATE_RUNNING, {0, 3, 1}, "digits");
  v1::Tensor& tensor = *networks.mutable_networks(0)->add_inputs();
  tensor.set_name("input:0");
  tensor.set_dtype("float32");
  tensor.add_shape(1);
  tensor.add_shape(64);
  tensor.set_bytes(256);
  const auto model = cli::ModelJson(networks)["models"][0];
  EXPECT_EQ(model["model_id"], 10001);
  EXPECT_EQ(model["nc_index"], 3);
  EXPECT_EQ(model["inputs"][0]["shape"], nlohmann::json({1, 64}));
  EXPECT_EQ(model["subgraphs"][0]["vnc"], 3);
}

TEST(ListNcgTest, LooksAsInTheGuide) {
  nrt::out_list_egs groups;
  groups.set_mla_count(4);
  groups.set_nc_count(16);
  const uint32_t rows[][4] = {{1, 2, 0, 0}, {2, 4, 0, 2}, {3, 3, 1, 2}, {4, 1, 2, 1}};
  for (const auto& row : rows) {
    nrt::eg_info& group = *groups.add_eg_info();
    group.mutable_eg()->set_id(row[0]);
    group.set_nc_count(row[1]);
    group.set_mla_start_index(row[2]);
    group.set_nc_start_index(row[3]);
  }
  EXPECT_EQ(cli::GroupTable(groups),
            "Device count 4 NC count 16\n"
            "Found 4 NCG's\n"
            "+--------+----------+--------------------+----------------+\n"
            "| NCG ID | NC COUNT | DEVICE START INDEX | NC START INDEX |\n"
            "+--------+----------+--------------------+----------------+\n"
            "|      1 |        2 |                  0 |              0 |\n"
            "|      2 |        4 |                  0 |              2 |\n"
            "|      3 |        3 |                  1 |              2 |\n"
            "|      4 |        1 |                  2 |              1 |\n"
            "+--------+----------+--------------------+----------------+\n");
  EXPECT_EQ(cli::GroupJson(groups)["ncgs"][2]["nc_start_index"], 2);
}

top::Sample OneDevice() {
  top::Sample sample;
  v1::Device& device = *sample.devices.add_devices();
  device.set_bdf("0000:00:1f.0");
  device.set_simulated(true);
  device.set_instance_type("inf1.xlarge");
  for (uint32_t i = 0; i < 2; ++i) {
    v1::Core& core = *device.add_cores();
    core.set_core_index(i);
    core.set_virtual_core(i);
    sample.cores[i] = {TimePoint(std::chrono::seconds(10)), 5'000'000'000};
  }
  return sample;
}

TEST(NeuronTopTest, UtilizationIsBusyTimeOverElapsedTime) {
  const top::Sample before = OneDevice();
  top::Sample after = OneDevice();
  after.cores[0] = {TimePoint(std::chrono::seconds(12)), 5'500'000'000};
  after.cores[1] = {TimePoint(std::chrono::seconds(12)), 9'000'000'000};
  after.cores[2] = {TimePoint(std::chrono::seconds(12)), 1};
  const auto utilization = top::Utilization(before, after);
  EXPECT_DOUBLE_EQ(utilization.at(0), 25);
  // Counters are read a moment apart, so a busy core may seem busier than time.
  EXPECT_DOUBLE_EQ(utilization.at(1), 100);
  EXPECT_FALSE(utilization.contains(2));
}

TEST(NeuronTopTest, UtilizationIsZeroWithoutTimeOrWhenTheCounterWentBack) {
  const top::Sample before = OneDevice();
  top::Sample after = OneDevice();
  after.cores[0].busy_ns += 100;
  after.cores[1] = {TimePoint(std::chrono::seconds(12)), 3};
  const auto utilization = top::Utilization(before, after);
  EXPECT_DOUBLE_EQ(utilization.at(0), 0);
  EXPECT_DOUBLE_EQ(utilization.at(1), 0);
}

TEST(NeuronTopTest, LooksAsInTheGuideAndSaysSimulated) {
  top::Sample after = OneDevice();
  AddNetwork(after.networks, 10017, "d12c", v1::NETWORK_STATE_RUNNING, {0, 0, 1}, "rn50");
  AddNetwork(after.networks, 10018, "d12d", v1::NETWORK_STATE_STANDBY, {0, 1, 1}, "rn101");
  for (v1::Network& network : *after.networks.mutable_networks()) {
    v1::Subgraph& subgraph = *network.mutable_subgraphs(0);
    subgraph.set_node_id(3);
    subgraph.set_device_bdf("0000:00:1f.0");
    subgraph.set_host_bytes(33554816);
    subgraph.set_device_bytes(135290880);
  }
  const auto text = top::SnapshotText(after, {{0, 12.345}, {1, 50}}, "2020-02-12 23:03:15");
  // clang-format off
  EXPECT_EQ(text,
"neuron-top - 2020-02-12 23:03:15\n"
"NN Models: 2 total, 1 running\n"
"Number of VNCs tracked: 2\n"
"\n"
"0000:00:1f.0 Utilizations: Neuron core0 12.35%, Neuron core1 50.00%, [SIMULATED inf1.xlarge]\n"
"\n"
"Model ID   Model Name   UUID   Node ID   Subgraph   Exec. Unit       Host Mem   Device Mem   Neuron core %\n"
"10017      rn50         d12c   3         0          0000:00:1f.0:0   33554816   135290880    12.35\n"
"10018      rn101        d12d   3         0          0000:00:1f.0:1   33554816   135290880    0.00\n");
  // clang-format on
}

TEST(NeuronTopTest, ARealDeviceIsNotCalledSimulated) {
  top::Sample after = OneDevice();
  after.devices.mutable_devices(0)->set_simulated(false);
  EXPECT_THAT(top::SnapshotText(after, {}, "now"), Not(HasSubstr("SIMULATED")));
  EXPECT_EQ(top::SnapshotJson(after, {}, "now")["devices"][0]["simulated"], false);
}

TEST(PictureTest, PixelsAreTwoCharactersWideAndPicturesStandSideBySide) {
  const std::vector<float> left = {0, 4, 8, 16};
  const std::vector<float> right = {16, 12, -3, 99};
  const std::vector<digits::Picture> pictures = {{left, 2, 2, "one"}, {right, 2, 2, "two"}};
  EXPECT_EQ(digits::RenderPictures(pictures, 16),
            "┌────┐  ┌────┐\n"
            "│  ░░│  │██▓▓│\n"
            "│▒▒██│  │  ██│\n"
            "└────┘  └────┘\n"
            " one     two\n");
}

TEST(PictureTest, ALongCaptionWidensThePlace) {
  const std::vector<float> pixel = {1};
  const std::vector<digits::Picture> pictures = {{pixel, 1, 1, "reads 3"}, {pixel, 1, 1, "x"}};
  EXPECT_EQ(digits::RenderPictures(pictures, 1),
            " ┌──┐    ┌──┐\n"
            " │██│    │██│\n"
            " └──┘    └──┘\n"
            "reads 3   x\n");
}

TEST(PictureTest, NanAndAnAllBlackPictureAreBlank) {
  const std::vector<float> pixel = {std::numeric_limits<float>::quiet_NaN()};
  const std::vector<digits::Picture> pictures = {{pixel, 1, 1, ""}};
  EXPECT_THAT(digits::RenderPictures(pictures, 1), HasSubstr("│  │"));
  EXPECT_THAT(digits::RenderPictures(pictures, 0), HasSubstr("│  │"));
}

class DatasetTest : public ::testing::Test {
 protected:
  template <typename Element>
  std::string Save(const std::string& name, DType dtype, const Shape& shape,
                   const std::vector<Element>& values) {
    const std::string path = folder_.File(name);
    const auto bytes = std::as_bytes(std::span(values));
    EXPECT_TRUE(WriteFileAtomically(path, SerializeNpy(dtype, shape, bytes)).has_value());
    return path;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(DatasetTest, ReadsImagesAndBothKindsOfLabels) {
  const auto images = Save<float>("i.npy", DType::kFloat32, {2, 1, 1, 3}, {0, 1, 2, 3, 4, 5});
  const auto wide = Save<int64_t>("l.npy", DType::kInt64, {2}, {7, 9});
  const auto narrow = Save<int32_t>("m.npy", DType::kInt32, {2}, {7, 9});
  for (const auto& labels : {wide, narrow}) {
    const auto dataset = digits::ReadDataset(images, labels);
    ASSERT_TRUE(dataset.has_value()) << dataset.error().text;
    EXPECT_THAT(dataset->image(1), ::testing::ElementsAre(3, 4, 5));
    EXPECT_THAT(dataset->labels, ::testing::ElementsAre(7, 9));
    EXPECT_EQ(dataset->brightest, 5);
  }
}

TEST_F(DatasetTest, RefusesWhatDoesNotBelongTogether) {
  const auto images = Save<float>("i.npy", DType::kFloat32, {2, 1, 1, 1}, {0, 1});
  const auto colour = Save<float>("c.npy", DType::kFloat32, {1, 2, 1, 1}, {0, 1});
  const auto three = Save<int64_t>("l.npy", DType::kInt64, {3}, {7, 9, 1});
  const auto floats = Save<float>("f.npy", DType::kFloat32, {2}, {7, 9});
  EXPECT_THAT(digits::ReadDataset(images, three).error().text, HasSubstr("holds 2 images, but"));
  EXPECT_THAT(digits::ReadDataset(images, floats).error().text, HasSubstr("labels are int64"));
  EXPECT_THAT(digits::ReadDataset(colour, three).error().text, HasSubstr("[1,2,1,1]"));
}

TEST(ArgMaxTest, IsTheFirstOfTheLargest) {
  EXPECT_EQ(digits::ArgMax(std::vector<float>{-3, -1, -2, -1}), 1u);
}

TEST(BenchReportTest, RatiosComeFromTheMeasurementsAndBoundsAreInclusive) {
  bench::Measurements measurements;
  measurements.infer_p50_us = 225;
  measurements.core_busy_us = 100;
  measurements.echo_p50_us = 100;
  measurements.infer_per_s = 7000;
  measurements.echo_per_s = 10000;
  measurements.post_wait_p50_us = 340;
  measurements.post_wait_echo_p50_us = 100;
  measurements.many_infer_per_s = 8000;
  measurements.many_echo_per_s = 10000;
  const auto metrics = bench::MetricsOf(measurements);
  const auto json = bench::ReportJson(metrics);
  EXPECT_DOUBLE_EQ(json["metrics"]["net_ratio"], 1.25);
  EXPECT_DOUBLE_EQ(json["metrics"]["throughput_ratio"], 0.7);
  EXPECT_EQ(json["ok"], true);
  EXPECT_THAT(bench::ReportText(metrics), Not(HasSubstr("MISSED")));
}

TEST(BenchReportTest, AMissedBoundIsNamed) {
  bench::Measurements measurements;
  measurements.infer_p50_us = 226;
  measurements.core_busy_us = 100;
  measurements.echo_p50_us = 100;
  measurements.infer_per_s = 8000;
  measurements.echo_per_s = 10000;
  const auto metrics = bench::MetricsOf(measurements);
  EXPECT_FALSE(bench::AllHold(metrics));
  EXPECT_THAT(bench::ReportText(metrics),
              ::testing::ContainsRegex("net_ratio +\\| 1.260 \\| <= 1.25 \\| MISSED"));
  EXPECT_EQ(bench::ReportJson(metrics)["bounds"][0]["ok"], false);
}

TEST(BenchReportTest, WithoutAnEchoNoThroughputBoundHolds) {
  EXPECT_FALSE(bench::AllHold(bench::MetricsOf({})));
}

}  // namespace
}  // namespace nrtd
