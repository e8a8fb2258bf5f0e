// SPDX-License-Identifier: Apache-2.0
#include "neff/writer.h"

#include <filesystem>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/npy.h"
#include "base/sealed_memory.h"
#include "test/neff/matchers.h"
#include "test/neff/sample_neff.h"

namespace nrtd::neff {
namespace {

using nlohmann::json;

// A folder that is empty at first and removed at last.
class NeffWriterFile : public testing::Test {
 protected:
  NeffWriterFile() {
    std::string name = (std::filesystem::temp_directory_path() / "neff-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~NeffWriterFile() override { std::filesystem::remove_all(folder_); }
  size_t FileCount() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }
  SealedMemory Copy(const std::string& name) const {
    return SealedMemory::CopyOf(OpenRegularFile(folder_ / name).value(), name, 1 << 24).value();
  }
  std::filesystem::path folder_;
};

void ExpectSame(const Neff& neff, const NeffContents& contents) {
  EXPECT_EQ(neff.graph(), contents.graph);
  EXPECT_EQ(neff.kelfs(), contents.kelfs);
  for (const auto& [path, blob] : contents.files) {
    const auto found = neff.archive().Find(path);
    ASSERT_TRUE(found) << path;
    EXPECT_EQ(Blob::View(*found), blob) << path;
  }
}

TEST(NeffWriter, WritesWhatTheReaderReads) {
  const NeffContents contents = SampleContents();
  for (const bool gzip : {false, true}) {
    const auto neff = ReadNeff(SampleNeff({.gzip = gzip}));
    ASSERT_THAT(neff, Succeeds());
    EXPECT_EQ(neff->archive().compressed(), gzip);
    ExpectSame(*neff, contents);
    EXPECT_TRUE(neff->HashMatches());
  }
}

TEST(NeffWriter, FillsInTheHeader) {
  const Neff neff = ReadNeff(SampleNeff()).value();
  const Header& header = neff.header();
  EXPECT_EQ(header.pkg_version, PackageVersion::kSha256);
  EXPECT_EQ(header.version_major, 1u);
  EXPECT_EQ(header.version_minor, 1u);
  EXPECT_EQ(header.num_tpb, 2u);
  EXPECT_EQ(header.requested_tpb_count, 2u);
  EXPECT_EQ(header.tpb_per_node[0], 2u);
  EXPECT_EQ(header.tpb_per_node[1], 0u);
  EXPECT_EQ(header.name, "sample.neff");
  EXPECT_EQ(neff.info(), (Info{"neuron-cc test", "sample.neff"}));
}

TEST(NeffWriter, GivesTheSameBytesForTheSameContents) {
  for (const bool gzip : {false, true})
    EXPECT_EQ(SampleNeff({.gzip = gzip}), SampleNeff({.gzip = gzip}));
}

TEST(NeffWriter, CopiesARealNeff) {
  const std::filesystem::path path = NRTD_SOURCE_DIR "/test/neff/data/matmul_small.neff";
  const Neff real = ReadNeff(path).value();
  NeffContents contents;
  contents.header = real.header();
  contents.info = real.info();
  contents.graph = real.graph();
  contents.kelfs = real.kelfs();
  contents.files["sg00/value_sg0000_identity_82_CRSM.npy"] =
      Blob::View(*real.archive().Find("sg00/value_sg0000_identity_82_CRSM.npy"));
  contents.files["sg01/value_sg0000_identity_82_CRSM.npy"] =
      Blob::View(*real.archive().Find("sg01/value_sg0000_identity_82_CRSM.npy"));
  auto bytes = SerializeNeff(contents);
  ASSERT_THAT(bytes, Succeeds());
  const Neff copy = ReadNeff(std::move(*bytes)).value();
  ExpectSame(copy, contents);
  EXPECT_EQ(copy.info(), real.info());
  EXPECT_EQ(copy.UuidText(), real.UuidText());
  EXPECT_EQ(copy.header().lnc_size, 2u);
}

// Every key of ours stands in the vendor's file, with a value of the same kind.
void ExpectSameForm(const json& ours, const json& real, const std::string& where) {
  if (ours.is_object()) {
    for (const auto& [key, value] : ours.items()) {
      ASSERT_TRUE(real.contains(key)) << where << "." << key;
      ExpectSameForm(value, real[key], where + "." + key);
    }
  } else if (ours.is_array() && !ours.empty()) {
    ASSERT_TRUE(real.is_array() && !real.empty()) << where;
    for (size_t i = 0; i < ours.size(); ++i) {
      ExpectSameForm(ours[i], real[std::min(i, real.size() - 1)], where);
    }
  } else {
    EXPECT_STREQ(ours.type_name(), real.type_name()) << where;
  }
}

TEST(NeffWriter, WritesJsonOfTheVendorsForm) {
  const std::filesystem::path path = NRTD_SOURCE_DIR "/test/neff/data/matmul_small.neff";
  const Neff real = ReadNeff(path).value();
  NeffContents contents;
  contents.header.name = "x";
  contents.graph = real.graph();
  contents.kelfs = real.kelfs();
  for (const auto& [file, bytes] : real.archive().files()) {
    if (file.ends_with(".npy")) contents.files[file] = Blob::View(bytes);
  }
  const Neff ours = ReadNeff(SerializeNeff(contents).value()).value();
  for (const char* file : {"neff.json", "kelf-0.json", "info.json", "sg00/def.json", "sg00/PE.json",
                           "sg01/DVE.json"}) {
    ExpectSameForm(json::parse(AsText(*ours.archive().Find(file))),
                   json::parse(AsText(*real.archive().Find(file))), file);
  }
  const json graph = json::parse(AsText(*ours.archive().Find("neff.json")));
  EXPECT_EQ(graph, json::parse(AsText(*real.archive().Find("neff.json"))));
}

TEST_F(NeffWriterFile, HasLargeWeightsWherePagesBegin) {
  NeffContents contents = SampleContents();
  auto& subgraphs = contents.kelfs["kelf-0.json"].subgraphs;
  constexpr uint64_t kSize = 100'000;
  for (Subgraph& subgraph : subgraphs) {
    for (Variable& variable : subgraph.variables)
      if (variable.name == "w") variable.size = kSize;
  }
  const Shape shape = {kSize / 4};
  const ByteVector values = Counting(kSize);
  contents.files["sg00/w.npy"] =
      Blob::Own(SerializeNpy(DType::kFloat32, shape, values, kNpyAlignment));
  contents.files["sg01/w.raw"] = Blob::Own(values);
  for (const bool gzip : {false, true}) {
    ASSERT_THAT(WriteNeff(contents, folder_ / "x.neff", {.gzip = gzip}), Succeeds());
    SealedMemory sealed = Copy("x.neff");
    const std::byte* begin = sealed.bytes().data();
    const uint64_t id = sealed.id();
    Neff neff = ReadNeff(std::move(sealed)).value();
    ASSERT_THAT(neff.Condense(), Succeeds());
    // What was read is what stays, unless it had to be unpacked.
    EXPECT_EQ(neff.sealed_weights().id() == id, !gzip);
    EXPECT_EQ(neff.sealed_weights().bytes().data() == begin, !gzip);
    size_t found = 0;
    for (const Subgraph& subgraph : neff.kelfs().begin()->second.subgraphs) {
      for (const Variable& variable : subgraph.variables) {
        if (variable.name != "w") continue;
        EXPECT_EQ(neff.SharedOffset(variable).value() % kAlignment, 0U);
        EXPECT_TRUE(std::ranges::equal(variable.data, values));
        ++found;
      }
    }
    EXPECT_EQ(found, 2U);
  }
}

// It would stay in memory as long as the network.
TEST_F(NeffWriterFile, WhatNobodyNamesIsNotKeptWhenCondensed) {
  NeffContents contents = SampleContents();
  contents.files["spare.bin"] = Blob::Own(ByteVector(2 * kMiB));
  ASSERT_THAT(WriteNeff(contents, folder_ / "x.neff"), Succeeds());
  Neff neff = ReadNeff(Copy("x.neff")).value();
  ASSERT_THAT(neff.Condense(), Succeeds());
  EXPECT_LT(neff.sealed_weights().bytes().size(), 1 * kMiB);
}

// Other compilers' NEFFs have them anywhere.
TEST_F(NeffWriterFile, WeightsElsewhereAreMovedWhenCondensed) {
  NeffContents contents = SampleContents();
  for (Variable& variable : contents.kelfs["kelf-0.json"].subgraphs[0].variables)
    if (variable.name == "w") variable.size = 100'000;
  contents.files["sg00/w.npy"] =
      Blob::Own(SerializeNpy(DType::kFloat32, Shape{25'000}, Counting(100'000)));
  ASSERT_THAT(WriteNeff(contents, folder_ / "x.neff"), Succeeds());
  SealedMemory sealed = Copy("x.neff");
  const uint64_t id = sealed.id();
  Neff neff = ReadNeff(std::move(sealed)).value();
  ASSERT_THAT(neff.Condense(), Succeeds());
  EXPECT_NE(neff.sealed_weights().id(), id);
  for (const Variable& variable : neff.kelfs().begin()->second.subgraphs[0].variables) {
    if (variable.name != "w") continue;
    EXPECT_EQ(neff.SharedOffset(variable).value() % kAlignment, 0U);
    EXPECT_TRUE(std::ranges::equal(variable.data, Counting(100'000)));
  }
}

TEST_F(NeffWriterFile, HasTheBytesThatMemoryHas) {
  const std::string path = folder_ / "sample.neff";
  for (const bool gzip : {false, true}) {
    ASSERT_THAT(WriteNeff(SampleContents(), path, {.gzip = gzip}), Succeeds());
    EXPECT_EQ(ReadFile(path).value(), SampleNeff({.gzip = gzip}));
    EXPECT_EQ(FileCount(), 1u);
  }
  const auto neff = ReadNeff(std::filesystem::path(path));
  ASSERT_THAT(neff, Succeeds());
  EXPECT_TRUE(neff->HashMatches());
}

TEST_F(NeffWriterFile, IsNotThereAfterAnError) {
  EXPECT_THAT(WriteNeff(SampleContents(), folder_ / "no" / "such" / "folder.neff"),
              FailsWith(Nerr::kInvalid, "cannot create"));
  NeffContents contents = SampleContents();
  contents.header.name = std::string(300, 'n');
  EXPECT_THAT(WriteNeff(contents, folder_ / "x.neff"), FailsWith(Nerr::kInvalid, "name of 300"));
  std::filesystem::create_directory(folder_ / "taken");
  EXPECT_THAT(WriteNeff(SampleContents(), folder_ / "taken"),
              FailsWith(Nerr::kInvalid, "cannot rename"));
  EXPECT_EQ(FileCount(), 1u);
}

TEST(NeffWriter, RefusesWhatTheReaderWouldRefuse) {
  NeffContents contents = SampleContents();
  contents.files.erase("sg00/w.npy");
  EXPECT_THAT(SerializeNeff(contents), FailsWith(Nerr::kInvalid, "names 'sg00/w.npy'"));
  contents = SampleContents();
  contents.files["../evil"] = Blob::View(AsBytes("x"));
  EXPECT_THAT(SerializeNeff(contents), FailsWith(Nerr::kInvalid, "'..'"));
  contents = SampleContents();
  contents.kelfs.at("kelf-0.json").subgraphs[0].engines[2].dma[0].desc.from.offset = 1;
  EXPECT_THAT(SerializeNeff(contents), FailsWith(Nerr::kInvalid, "reaches byte 16"));
  contents = SampleContents();
  contents.kelfs.at("kelf-0.json").subgraphs[1].definition = "sg00/def.json";
  EXPECT_THAT(SerializeNeff(contents), FailsWith(Nerr::kInvalid, "two different contents"));
}

TEST(NeffWriter, RefusesWhatTheReaderWouldReadDifferently) {
  NeffContents contents = SampleContents();
  auto& variables = contents.kelfs.at("kelf-0.json").subgraphs[0].variables;
  variables[0].var_id = 6;  // no longer by rising var_id
  variables[3].list = {2};
  EXPECT_THAT(SerializeNeff(contents), FailsWith(Nerr::kInvalid, "number 0 of variables"));
  contents = SampleContents();
  std::swap(contents.kelfs.at("kelf-0.json").subgraphs[0].queues[0],
            contents.kelfs.at("kelf-0.json").subgraphs[0].queues[1]);
  EXPECT_THAT(SerializeNeff(contents), FailsWith(Nerr::kInvalid, "number 0 of queues"));
  contents = SampleContents();
  contents.graph.tensors[4].bytes = 17;
  EXPECT_THAT(SerializeNeff(contents), FailsWith(Nerr::kInvalid, "number 4 of tensors"));
  contents = SampleContents();
  contents.graph.outputs[0].name = "other";
  EXPECT_THAT(SerializeNeff(contents), FailsWith(Nerr::kInvalid, "number 0 of outputs"));
  contents = SampleContents();
  contents.kelfs["kelf-9.json"] = contents.kelfs.at("kelf-0.json");
  EXPECT_THAT(SerializeNeff(contents), FailsWith(Nerr::kInvalid, "no node of the graph runs"));
  contents = SampleContents();
  contents.graph.nodes[3].kelf = "kelf-9.json";
  EXPECT_THAT(SerializeNeff(contents), FailsWith(Nerr::kInvalid, "'kelf-9.json', which is not"));
}

}  // namespace
}  // namespace nrtd::neff
