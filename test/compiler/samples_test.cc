// SPDX-License-Identifier: Apache-2.0
#include "compiler/samples.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "test/compiler/cases.h"

namespace nrtd::compiler {
namespace {

using ::testing::HasSubstr;

class SamplesTest : public ::testing::Test {
 protected:
  void Write(const std::string& file, const std::vector<float>& values) {
    const std::filesystem::path path = folder_.File(file);
    std::filesystem::create_directories(path.parent_path());
    const Shape shape{static_cast<int64_t>(values.size())};
    Must(WriteFileAtomically(path.string(), SerializeNpy(DType::kFloat32, shape, BytesOf(values))));
  }
  static Value Input(const std::string& name, DType dtype, Shape shape) {
    return {name, dtype, std::move(shape), std::nullopt};
  }

  TemporaryFolder folder_;
};

TEST_F(SamplesTest, AFolderMayBeOneSample) {
  Write("x.npy", {1, 2});
  const auto samples = Must(ReadSamples(folder_.File("")));
  ASSERT_EQ(samples.size(), 1U);
  EXPECT_EQ(Must(ElementsOf(samples[0], Input("x", DType::kFloat32, {2}))), BytesOf({1, 2}));
}

TEST_F(SamplesTest, AFolderMayHoldFoldersOfSamples) {
  Write("0/x.npy", {1});
  Write("1/x.npy", {2});
  std::filesystem::create_directories(folder_.File("2"));  // nothing in it
  const auto samples = Must(ReadSamples(folder_.File("")));
  ASSERT_EQ(samples.size(), 2U);
  EXPECT_EQ(samples[1].arrays.at("x").data, BytesOf({2}));
}

TEST_F(SamplesTest, ASlashInANameIsALineInTheFiles) {
  Write("scope_x:0.npy", {3});
  const auto samples = Must(ReadSamples(folder_.File("")));
  EXPECT_TRUE(ElementsOf(samples[0], Input("scope/x:0", DType::kFloat32, {1})));
}

TEST_F(SamplesTest, ALinkThatLeadsNowhereIsNoSample) {
  Write("0/x.npy", {1});
  std::filesystem::create_directory_symlink("loop", folder_.File("loop"));
  EXPECT_EQ(Must(ReadSamples(folder_.File(""))).size(), 1U);
}

TEST_F(SamplesTest, WhatMayBeOneOrSeveralIsRefused) {
  Write("labels.npy", {1});
  Write("0/x.npy", {1});
  EXPECT_THAT(ReadSamples(folder_.File("")).error().text,
              HasSubstr("there is labels.npy in it and also folders with inputs"));
}

TEST_F(SamplesTest, WhatIsWrongIsSaid) {
  EXPECT_THAT(ReadSamples(folder_.File("missing")).error().text, HasSubstr("missing"));
  EXPECT_THAT(ReadSamples(folder_.File("")).error().text, HasSubstr("no sample inputs"));
  Write("x.npy", {1, 2});
  const auto samples = Must(ReadSamples(folder_.File("")));
  EXPECT_THAT(ElementsOf(samples[0], Input("y", DType::kFloat32, {2})).error().text,
              HasSubstr("no y.npy for input 'y'"));
  EXPECT_THAT(ElementsOf(samples[0], Input("x", DType::kFloat32, {2, 1})).error().text,
              HasSubstr("[2], input 'x' is float32 [2,1]"));
  EXPECT_THAT(ElementsOf(samples[0], Input("x", DType::kInt32, {2})).error().text,
              HasSubstr("x.npy is float32"));
  Must(WriteFileAtomically(folder_.File("z.npy"), AsBytes("no array")));
  EXPECT_THAT(ReadSamples(folder_.File("")).error().text, HasSubstr("z.npy"));
}

}  // namespace
}  // namespace nrtd::compiler
