// SPDX-License-Identifier: Apache-2.0
#include "neff/validator.h"

#include <gtest/gtest.h>

#include "test/neff/matchers.h"
#include "test/neff/sample_neff.h"

namespace nrtd::neff {
namespace {

const std::filesystem::path kMatMulFile = NRTD_SOURCE_DIR "/test/neff/data/matmul_small.neff";

Result<void> Check(const NeffContents& contents) {
  NRTD_ASSIGN(ByteVector bytes, SerializeNeff(contents));
  NRTD_ASSIGN(const Neff neff, ReadNeff(std::move(bytes)));
  return CheckExecutable(neff, kSimTarget);
}

Subgraph& FirstSubgraph(NeffContents& contents) {
  return contents.kelfs.at("kelf-0.json").subgraphs[0];
}

TEST(CheckVersion, TakesTheVersionsInTheField) {
  Header header;
  for (const auto& [major, minor] : {std::pair{0, 6}, {1, 0}, {1, 1}}) {
    header.version_major = static_cast<uint64_t>(major);
    header.version_minor = static_cast<uint64_t>(minor);
    EXPECT_THAT(CheckVersion(header), Succeeds()) << major << "." << minor;
  }
}

TEST(CheckVersion, RefusesOthersInTheWordsClientsSearchFor) {
  Header header;
  header.version_major = 2;
  header.version_minor = 0;
  const auto result = CheckVersion(header);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Nerr::kUnsupportedVersion);
  EXPECT_THAT(result.error().text,
              testing::StartsWith("NEFF version mismatch supported: 1.1 received: 2.0"));
  for (const auto& [major, minor] : {std::pair{0, 5}, {0, 7}, {1, 2}, {3, 1}}) {
    header.version_major = static_cast<uint64_t>(major);
    header.version_minor = static_cast<uint64_t>(minor);
    EXPECT_THAT(CheckVersion(header), FailsWith(Nerr::kUnsupportedVersion, "version mismatch"));
  }
}

TEST(CheckExecutable, TakesTheSample) {
  EXPECT_THAT(Check(SampleContents()), Succeeds());
}

TEST(CheckExecutable, RefusesTheRealFileForItsVersionFirst) {
  const Neff neff = ReadNeff(kMatMulFile).value();
  EXPECT_THAT(
      CheckExecutable(neff, kSimTarget),
      FailsWith(Nerr::kUnsupportedVersion, "NEFF version mismatch supported: 1.1 received: 2.0"));
}

TEST(CheckExecutable, RefusesAnotherTargetByItsName) {
  NeffContents contents = SampleContents();
  contents.kelfs.at("kelf-0.json").target = "cayman";
  EXPECT_THAT(Check(contents),
              FailsWith(Nerr::kUnsupportedVersion,
                        "NEFF target mismatch supported: sim-inf1 received: cayman"));
  contents.kelfs.at("kelf-0.json").target = "";
  EXPECT_THAT(Check(contents), FailsWith(Nerr::kUnsupportedVersion, "received: none"));
}

TEST(CheckExecutable, RefusesFeaturesAndLogicalCores) {
  NeffContents contents = SampleContents();
  contents.header.feature_bits = 0x10;
  EXPECT_THAT(Check(contents), FailsWith(Nerr::kUnsupportedVersion, "features 0x10"));
  contents = SampleContents();
  contents.header.lnc_size = 2;
  EXPECT_THAT(Check(contents), FailsWith(Nerr::kUnsupportedVersion, "logical cores of 2"));
  contents.header.lnc_size = 1;
  EXPECT_THAT(Check(contents), Succeeds());
}

TEST(CheckExecutable, RefusesWhatACoreDoesNotHave) {
  NeffContents contents = SampleContents();
  FirstSubgraph(contents).queues[0].num_queues = 2;
  EXPECT_THAT(Check(contents), FailsWith(Nerr::kInvalid, "\"qIn\" has 2 queues, expected 1"));
  contents = SampleContents();
  FirstSubgraph(contents).queues[0].semaphore = 32;
  EXPECT_THAT(Check(contents), FailsWith(Nerr::kInvalid, "semaphore 32 does not exist"));
  contents = SampleContents();
  FirstSubgraph(contents).queues[0].semaphore_set = {31, 40};
  EXPECT_THAT(Check(contents), FailsWith(Nerr::kInvalid, "semaphore 40 does not exist"));
  contents = SampleContents();
  FirstSubgraph(contents).engines[1].dma[0].event = 256;
  EXPECT_THAT(Check(contents), FailsWith(Nerr::kInvalid, "event 256 does not exist"));
  contents = SampleContents();
  FirstSubgraph(contents).engines[2].dma[0].semaphore = 77;
  EXPECT_THAT(Check(contents), FailsWith(Nerr::kInvalid, "sg00/def.json: semaphore 77"));
  contents = SampleContents();
  FirstSubgraph(contents).engines[2].dma[0].desc.op = "transpose";
  EXPECT_THAT(Check(contents), FailsWith(Nerr::kInvalid, "descriptor 1 is more than a plain copy"));
}

TEST(CheckExecutable, RefusesVariablesItCannotPlace) {
  NeffContents contents = SampleContents();
  FirstSubgraph(contents).variables[2].size.reset();
  EXPECT_THAT(Check(contents), FailsWith(Nerr::kInvalid, "\"SB\", whose size is not declared"));
  contents = SampleContents();
  FirstSubgraph(contents).variables[4].type = VariableType::kOther;
  FirstSubgraph(contents).variables[4].type_name = "future";
  EXPECT_THAT(Check(contents), FailsWith(Nerr::kInvalid, "the type \"future\""));
}

TEST(ReadExecutable, ReadsFromBytesAndFiles) {
  EXPECT_THAT(ReadExecutable(SampleNeff(), kSimTarget), Succeeds());
  EXPECT_THAT(ReadExecutable(kMatMulFile, kSimTarget),
              FailsWith(Nerr::kUnsupportedVersion, "received: 2.0"));
  EXPECT_THAT(ReadExecutable(SampleNeff(), "inferentia"),
              FailsWith(Nerr::kUnsupportedVersion, "sim-inf1"));
}

TEST(ReadExecutable, ReportsTheVersionOfAFormatItCannotRead) {
  Header header;
  header.version_major = 9;
  header.version_minor = 3;
  const ByteVector data(3000, std::byte{0x5a});
  EXPECT_THAT(ReadExecutable(NeffOf(data, header), kSimTarget),
              FailsWith(Nerr::kUnsupportedVersion, "supported: 1.1 received: 9.3"));
}

TEST(ReadExecutable, ReportsAWrongSizeBeforeTheVersion) {
  Header header;
  header.version_major = 9;
  ByteVector bytes = NeffOf(ByteVector(100), header);
  bytes.pop_back();
  EXPECT_THAT(ReadExecutable(std::move(bytes), kSimTarget),
              FailsWith(Nerr::kInvalid, "Wrong NEFF file size"));
}

}  // namespace
}  // namespace nrtd::neff
