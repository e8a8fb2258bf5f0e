// SPDX-License-Identifier: Apache-2.0
//
// The real file: everything that is peculiar about it.
#include "neff/neff.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "test/neff/matchers.h"
#include "test/neff/sample_neff.h"
#include "test/neff/tar_builder.h"

namespace nrtd::neff {
namespace {

const std::filesystem::path kRealFile = NRTD_SOURCE_DIR "/test/neff/data/matmul_small.neff";

TEST(RealNeff, HasTheHeaderOfALaterChip) {
  const auto neff = ReadNeff(kRealFile);
  ASSERT_THAT(neff, Succeeds());
  const Header& header = neff->header();
  EXPECT_EQ(header.pkg_version, PackageVersion::kMd5);
  EXPECT_EQ(header.version_major, 2u);
  EXPECT_EQ(header.version_minor, 0u);
  EXPECT_EQ(header.data_size, 61440u);
  EXPECT_EQ(header.num_tpb, 1u);
  EXPECT_EQ(header.requested_tpb_count, 1u);
  EXPECT_EQ(header.tpb_per_node[0], 1u);
  EXPECT_EQ(header.feature_bits, 0x209c00u);
  EXPECT_EQ(header.lnc_size, 2u);
  EXPECT_EQ(header.name, "file.neff");
  EXPECT_EQ(header.build_version, "");
  EXPECT_EQ(neff->UuidText(), "00a04c535fd94f07bffdd5eacdefc852");
  EXPECT_EQ(neff->FileSize(), 62464u);
  EXPECT_FALSE(neff->HashMatches());
}

TEST(RealNeff, HasItsFilesInAPaddedGzipOwnedByNobody) {
  const auto neff = ReadNeff(kRealFile);
  ASSERT_THAT(neff, Succeeds());
  EXPECT_TRUE(neff->archive().compressed());
  EXPECT_EQ(neff->archive().files().size(), 72u);
  EXPECT_EQ(neff->archive().Find("sg01/PE.bin")->size(), 768u);
  const ByteVector bytes = ReadFile(kRealFile.string()).value();
  EXPECT_EQ(bytes.back(), std::byte{0});
  EXPECT_EQ(neff->info().tool_version, "2.23.6484.0+3b612583");
  EXPECT_EQ(neff->info().name, "file.neff");
}

TEST(RealNeff, HasTwoOutputsOfOneName) {
  const auto neff = ReadNeff(kRealFile);
  ASSERT_THAT(neff, Succeeds());
  const Graph& graph = neff->graph();
  EXPECT_EQ(graph.inputs, (std::vector<Port>{{"x", 0}, {"y", 1}}));
  EXPECT_EQ(graph.outputs, (std::vector<Port>{{"output0", 2}, {"output0", 3}}));
  EXPECT_EQ(graph.tensors[0].shape, (Shape{128, 256}));
  EXPECT_EQ(graph.tensors[0].dtype, DType::kFloat16);
  EXPECT_EQ(graph.tensors[0].bytes, 65536u);
  ASSERT_EQ(graph.nodes.size(), 3u);
  EXPECT_EQ(graph.nodes[2].kind, NodeKind::kKelf);
  EXPECT_EQ(graph.nodes[2].name, "sg_coreV10");
}

TEST(RealNeff, HasTwoSubgraphsForCayman) {
  const auto neff = ReadNeff(kRealFile);
  ASSERT_THAT(neff, Succeeds());
  const Kelf& kelf = neff->kelf(neff->graph().nodes[2]);
  EXPECT_EQ(kelf.target, "cayman");
  EXPECT_EQ(kelf.version, "0.5");
  ASSERT_EQ(kelf.subgraphs.size(), 2u);
  EXPECT_EQ(kelf.subgraphs[1].name, "sg01");
  EXPECT_EQ(neff->CoresRequired(), 2u);
  EXPECT_EQ(neff->LargestNodeCores(), 2u);
}

TEST(RealNeff, HasVariablesQueuesAndFiveEngines) {
  const auto neff = ReadNeff(kRealFile);
  ASSERT_THAT(neff, Succeeds());
  for (const Subgraph& subgraph : neff->kelfs().at("kelf-0.json").subgraphs) {
    EXPECT_EQ(subgraph.version, "0.6");
    ASSERT_EQ(subgraph.variables.size(), 6u);
    EXPECT_EQ(subgraph.variables[0].type, VariableType::kStateBuffer);
    EXPECT_FALSE(subgraph.variables[0].size);
    EXPECT_EQ(subgraph.variables[4].type, VariableType::kFile);
    EXPECT_EQ(subgraph.variables[4].alignment, 32768u);
    EXPECT_EQ(subgraph.variables[4].data.size(), 32768u);
    EXPECT_EQ(subgraph.variables[5].type, VariableType::kDgeTable);
    EXPECT_EQ(subgraph.variables[5].list, (std::vector<uint32_t>{1, 2, 3}));
    ASSERT_EQ(subgraph.queues.size(), 2u);
    EXPECT_EQ(subgraph.FindQueue("qSPDynamicHW")->semaphore_set.front(), 8u);
    EXPECT_EQ(subgraph.FindQueue("qPoolDynamic")->num_queues, 16u);
    ASSERT_EQ(subgraph.engines.size(), 5u);
    EXPECT_EQ(subgraph.FindEngine("pe")->instructions.size(), 768u);
    EXPECT_TRUE(subgraph.FindEngine("dve")->dma.empty());
  }
  EXPECT_EQ(neff->WeightBytes(), 2u * 32768);
}

TEST(ReadNeff, TakesBytesMappingsAndPaths) {
  EXPECT_THAT(ReadNeff(ReadFile(kRealFile.string()).value()), Succeeds());
  EXPECT_THAT(ReadNeff(MappedRegion::MapFile(kRealFile.string()).value()), Succeeds());
  EXPECT_THAT(ReadNeff(std::filesystem::path("/nonexistent.neff")),
              FailsWith(Nerr::kInvalid, "/nonexistent.neff"));
  EXPECT_THAT(ReadNeff(std::filesystem::path("/")), FailsWith(Nerr::kInvalid, "regular file"));
}

TEST(ReadNeff, OfAPlainNeffDoesNotCopyAndSurvivesAMove) {
  ByteVector bytes = SampleNeff();
  const std::byte* begin = bytes.data();
  const std::byte* end = begin + bytes.size();
  auto neff = ReadNeff(std::move(bytes));
  ASSERT_THAT(neff, Succeeds());
  const Neff moved = std::move(*neff);
  const Subgraph& subgraph = moved.kelfs().at("kelf-0.json").subgraphs[0];
  const ByteSpan weights = subgraph.FindVariable("w")->data;
  EXPECT_TRUE(begin < weights.data() && weights.data() + weights.size() <= end);
  EXPECT_EQ(weights[63], std::byte{63});
  EXPECT_TRUE(moved.HashMatches());
  EXPECT_EQ(moved.UuidText(), "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf");
  EXPECT_EQ(moved.WeightBytes(), 64u + 60);
}

TEST(ReadNeff, OfACompressedNeffSurvivesAMove) {
  auto neff = ReadNeff(SampleNeff({.gzip = true}));
  ASSERT_THAT(neff, Succeeds());
  const Neff moved = std::move(*neff);
  EXPECT_TRUE(moved.archive().compressed());
  EXPECT_EQ(moved.kelfs(), SampleContents().kelfs);
  EXPECT_EQ(moved.kelfs().at("kelf-0.json").subgraphs[1].FindVariable("w")->data[59],
            std::byte{59});
}

TEST(ReadNeff, ReportsAHashThatDoesNotMatchOnlyWhenAsked) {
  ByteVector bytes = SampleNeff();
  bytes[offset::kHash] ^= std::byte{1};
  const auto neff = ReadNeff(std::move(bytes));
  ASSERT_THAT(neff, Succeeds());
  EXPECT_FALSE(neff->HashMatches());
}

TEST(ReadNeff, DoesNotLookAtModesAndOwnersOfFiles) {
  std::vector<TarEntry> entries;
  for (const auto& [path, content] : SampleFiles())
    entries.push_back({.path = path, .content = content, .mode = 0, .owner = "nobody"});
  const auto neff = ReadNeff(NeffOf(MakeTar(entries)));
  ASSERT_THAT(neff, Succeeds());
  EXPECT_EQ(neff->graph(), SampleContents().graph);
}

TEST(ReadNeff, WithoutInfoIsFine) {
  auto files = SampleFiles();
  files.erase("info.json");
  const auto neff = ReadNeff(NeffOf(MakeTarOf(files)));
  ASSERT_THAT(neff, Succeeds());
  EXPECT_EQ(neff->info(), Info{});
}

TEST(ReadNeff, CountsTheCoresOfEveryNode) {
  NeffContents contents = SampleContents();
  Node second = contents.graph.nodes[3];
  second.kelf = "kelf-1.json";
  contents.graph.nodes.push_back(second);
  const KelfMap kelfs = {{"kelf-0.json", contents.kelfs.at("kelf-0.json")},
                         {"kelf-1.json", {"0.5", "sim-inf1", {Subgraph{}}}}};
  EXPECT_EQ(CoresRequired(contents.graph, kelfs), 3u);
  EXPECT_EQ(LargestNodeCores(contents.graph, kelfs), 2u);
}

}  // namespace
}  // namespace nrtd::neff
