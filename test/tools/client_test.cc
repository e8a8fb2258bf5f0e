// SPDX-License-Identifier: Apache-2.0
//
// The parts of tools/client that need no daemon.
#include <cstdlib>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/client/address.h"
#include "tools/client/latency.h"
#include "tools/client/table.h"
#include "tools/client/tensors.h"

namespace nrtd::client {
namespace {

using ::testing::HasSubstr;

class AddressTest : public ::testing::Test {
 protected:
  void SetUp() override { ::unsetenv("NEURON_RTD_ADDRESS"); }
};

TEST_F(AddressTest, WithoutFlagAndVariableIsTheDefaultSocket) {
  EXPECT_EQ(ResolveAddress("").value(), "unix:/run/neuron.sock");
}

TEST_F(AddressTest, TheVariableBeatsTheDefaultAndTheFlagBeatsTheVariable) {
  ::setenv("NEURON_RTD_ADDRESS", "unix:/sock/neuron.sock", 1);
  EXPECT_EQ(ResolveAddress("").value(), "unix:/sock/neuron.sock");
  EXPECT_EQ(ResolveAddress("unix:/tmp/other.sock").value(), "unix:/tmp/other.sock");
}

TEST_F(AddressTest, AnEmptyVariableCountsAsAbsent) {
  ::setenv("NEURON_RTD_ADDRESS", "", 1);
  EXPECT_EQ(ResolveAddress("").value(), "unix:/run/neuron.sock");
}

TEST_F(AddressTest, ABarePathIsAUnixSocketAndHostsNeedAPort) {
  EXPECT_EQ(ResolveAddress("/run/x.sock").value(), "unix:/run/x.sock");
  EXPECT_EQ(ResolveAddress("unix:///run/x.sock").value(), "unix:///run/x.sock");
  EXPECT_EQ(ResolveAddress("localhost:9100").value(), "localhost:9100");
  EXPECT_EQ(ResolveAddress("[::1]:9100").value(), "[::1]:9100");
  for (const char* wrong : {"localhost", "localhost:", ":9100", "localhost:http", "unix:"})
    EXPECT_EQ(ResolveAddress(wrong).error().code, Nerr::kInvalid) << wrong;
}

TEST_F(AddressTest, ErrorsNameTheirSource) {
  EXPECT_THAT(ResolveAddress("nonsense").error().text, HasSubstr("address 'nonsense'"));
  ::setenv("NEURON_RTD_ADDRESS", "nonsense", 1);
  EXPECT_THAT(ResolveAddress("").error().text, HasSubstr("NEURON_RTD_ADDRESS 'nonsense'"));
}

TEST_F(AddressTest, APathMustFitASocketAddress) {
  const std::string longest = "/" + std::string(106, 'x');
  EXPECT_TRUE(ResolveAddress(longest).has_value());
  EXPECT_THAT(ResolveAddress(longest + "x").error().text, HasSubstr("108 bytes"));
}

TEST(TableTest, FramesCellsAndCentresHeaders) {
  Table table({{{"NAME"}}, {{"NC", "INDEX"}, Align::kRight}});
  table.AddRow({"a longer name", "7"});
  table.AddRow({"b", "12"});
  EXPECT_EQ(table.Framed(),
            "+---------------+-------+\n"
            "|     NAME      |  NC   |\n"
            "|               | INDEX |\n"
            "+---------------+-------+\n"
            "| a longer name |     7 |\n"
            "| b             |    12 |\n"
            "+---------------+-------+\n");
}

TEST(TableTest, WithoutRowsIsItsHeader) {
  EXPECT_EQ(Table({{{"ID"}}}).Framed(), "+----+\n| ID |\n+----+\n+----+\n");
}

TEST(TableTest, PlainHasThreeBlanksBetweenColumnsAndNoneAtTheEnd) {
  Table table({{{"Model ID"}}, {{"Name"}}});
  table.AddRow({"10001", "x"});
  EXPECT_EQ(table.Plain(), "Model ID   Name\n10001      x\n");
}

TEST(TableTest, CountsCharactersNotBytes) {
  Table table({{{"N"}}});
  table.AddRow({"größe"});
  table.AddRow({"abcde"});
  EXPECT_EQ(table.Framed(), "+-------+\n|   N   |\n+-------+\n| größe |\n| abcde |\n+-------+\n");
}

TEST(TableTest, ControlCharactersCannotSteerTheTerminal) {
  Table table({{{"N"}}});
  table.AddRow({"a\x1b[2J\nb"});
  EXPECT_THAT(table.Plain(), HasSubstr("a\\x1b[2J\\nb"));
}

TEST(LatenciesTest, PercentilesAreSamplesByNearestRank) {
  Latencies latencies;
  // 100, 99, ... 1 microseconds
  for (int i = 100; i >= 1; --i) latencies.Add(std::chrono::microseconds(i));
  EXPECT_EQ(latencies.count(), 100u);
  EXPECT_DOUBLE_EQ(latencies.PercentileUs(50), 50);
  EXPECT_DOUBLE_EQ(latencies.PercentileUs(99), 99);
  EXPECT_DOUBLE_EQ(latencies.PercentileUs(99.5), 100);
  EXPECT_DOUBLE_EQ(latencies.PercentileUs(100), 100);
  EXPECT_DOUBLE_EQ(latencies.PercentileUs(0.01), 1);
}

TEST(LatenciesTest, SeesSamplesAddedAfterAPercentile) {
  Latencies latencies;
  EXPECT_DOUBLE_EQ(latencies.PercentileUs(50), 0);
  latencies.Add(std::chrono::nanoseconds(1500));
  EXPECT_DOUBLE_EQ(latencies.PercentileUs(50), 1.5);
  latencies.Add(std::chrono::nanoseconds(500));
  EXPECT_DOUBLE_EQ(latencies.PercentileUs(50), 0.5);
  EXPECT_DOUBLE_EQ(latencies.PercentileUs(99), 1.5);
}

v1::Tensor MakeTensor(const std::string& name, const std::string& dtype, std::vector<int64_t> shape,
                      uint64_t bytes) {
  v1::Tensor tensor;
  tensor.set_name(name);
  tensor.set_dtype(dtype);
  tensor.mutable_shape()->Assign(shape.begin(), shape.end());
  tensor.set_bytes(bytes);
  return tensor;
}

TEST(TensorsTest, AnArrayMustHaveTheTensorsTypeAndSize) {
  const v1::Tensor tensor = MakeTensor("input:0", "float32", {1, 8, 8}, 256);
  EXPECT_TRUE(CheckArray(tensor, DType::kFloat32, 256, "x.npy").has_value());
  EXPECT_THAT(CheckArray(tensor, DType::kFloat64, 256, "x.npy").error().text,
              HasSubstr("x.npy holds float64, but the model's 'input:0' takes float32"));
  EXPECT_THAT(CheckArray(tensor, DType::kFloat32, 255, "x.npy").error().text,
              HasSubstr("of shape [1,8,8] takes 256"));
}

TEST(TensorsTest, BytesThatDoNotFitTheTensorStayRaw) {
  const v1::Tensor tensor = MakeTensor("o", "bfloat16", {2, 3}, 12);
  EXPECT_EQ(FormOf(&tensor, 12).dtype, DType::kBFloat16);
  EXPECT_EQ(FormOf(&tensor, 12).shape, (Shape{2, 3}));
  EXPECT_EQ(FormOf(&tensor, 13).dtype, DType::kUInt8);
  EXPECT_EQ(FormOf(&tensor, 13).shape, (Shape{13}));
  EXPECT_EQ(FormOf(nullptr, 5).shape, (Shape{5}));
  const v1::Tensor unknown = MakeTensor("o", "complex64", {1}, 8);
  EXPECT_EQ(FormOf(&unknown, 8).dtype, DType::kUInt8);
}

TEST(TensorsTest, PicksTheOnlyTensorOrTheNamedOne) {
  Tensors tensors;
  *tensors.Add() = MakeTensor("a", "float32", {1}, 4);
  EXPECT_EQ(PickTensor(tensors, "", "input").value().name(), "a");
  *tensors.Add() = MakeTensor("b", "float32", {1}, 4);
  EXPECT_EQ(PickTensor(tensors, "b", "input").value().name(), "b");
  EXPECT_THAT(PickTensor(tensors, "", "input").error().text,
              HasSubstr("2 inputs (a, b); name one with --input"));
  EXPECT_THAT(PickTensor(tensors, "c", "output").error().text, HasSubstr("no output 'c'"));
}

}  // namespace
}  // namespace nrtd::client
