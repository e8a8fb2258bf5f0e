// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/neff_cache.h"

#include <fstream>
#include <map>
#include <set>

#include "base/bytes.h"
#include "base/file.h"
#include "base/sizes.h"
#include "test/base/scratch_directory.h"
#include "test/runtime/runtime_fixture.h"

namespace nrtd::runtime {
namespace {

// A network with weights, which nothing uses.
ByteVector Named(const std::string& name, float weight = 1) {
  PipelineSpec spec = DoublingSpec(1);
  spec.name = name;
  spec.stages[0].weights.assign(5000, weight);
  return PipelineNeff(spec);
}

class NeffCacheTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const ByteVector& bytes) {
    const std::string path = folder_.File(name);
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return path;
  }
  // Bytes that this process has read from files.
  static uint64_t BytesRead() {
    const std::string io = Must(ReadTextFile("/proc/self/io"));
    return std::stoull(io.substr(io.find("rchar: ") + 7));
  }
  NeffCache cache_;
  ScratchDirectory folder_;
  const NeffReading own_{.user = FileUser::OfThisProcess()};  // the folder is this user's alone
};

TEST_F(NeffCacheTest, TheSameContentIsUnpackedOnce) {
  const auto first = Must(cache_.Read(Named("a")));
  const auto second = Must(cache_.Read(Named("a")));
  EXPECT_EQ(first, second);
  EXPECT_NE(Must(cache_.Read(Named("b"))), first);
  EXPECT_NE(Must(cache_.Read(Named("a", 2))), first);
  EXPECT_EQ(cache_.hits(), 1U);
  EXPECT_EQ(cache_.misses(), 3U);
  EXPECT_EQ(first->header().name, "a");
}

TEST_F(NeffCacheTest, AFileAndAnUploadOfTheSameContentMeet) {
  const std::string path = Write("a.neff", Named("a"));
  const auto by_path = Must(cache_.Read(std::filesystem::path(path), own_));
  EXPECT_EQ(Must(cache_.Read(Named("a"))), by_path);
  EXPECT_EQ(Must(cache_.Read(std::filesystem::path(Write("copy.neff", Named("a"))), own_)),
            by_path);
}

TEST_F(NeffCacheTest, AFileThatHasNotChangedIsNotReadAgain) {
  NeffCache trusting(std::chrono::nanoseconds(-1));
  const ByteVector neff = Named("a");
  const std::filesystem::path path = Write("a.neff", neff);
  const auto first = Must(trusting.Read(path, own_));
  const uint64_t before = BytesRead();
  EXPECT_EQ(Must(trusting.Read(path, own_)), first);
  EXPECT_LT(BytesRead() - before, neff.size());

  // One that may still be changing is.
  Must(cache_.Read(path, own_));
  const uint64_t again = BytesRead();
  Must(cache_.Read(path, own_));
  EXPECT_GE(BytesRead() - again, neff.size());
  EXPECT_EQ(cache_.hits(), 1U);
}

TEST_F(NeffCacheTest, AFileThatChangedIsReadAgainHoweverRecently) {
  for (int round = 0; round < 20; ++round) {
    const std::string name = round % 2 == 0 ? "even" : "odds";
    const std::string path = Write("a.neff", Named(name));
    EXPECT_EQ(Must(cache_.Read(std::filesystem::path(path), own_))->header().name, name);
  }
}

TEST_F(NeffCacheTest, AFileThatCannotBeOpenedAnyMoreIsAnErrorThoughItIsKnown) {
  NeffCache trusting(std::chrono::nanoseconds(-1));
  const std::filesystem::path path = Write("a.neff", Named("a"));
  Must(trusting.Read(path, own_));
  std::filesystem::remove(path);
  const auto gone = trusting.Read(path, own_);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Nerr::kInvalid);
}

// By uid 65534 even if the file is known.
TEST_F(NeffCacheTest, AFileThatTheUserMayNotReadIsNotThereThoughItIsKnown) {
  NeffCache trusting(std::chrono::nanoseconds(-1));
  const std::filesystem::path path = Write("a.neff", Named("a"));
  Must(trusting.Read(path, own_));
  for (const FileUser& user : {FileUser(), FileUser::Of(65534, 65534)}) {
    const auto refused = trusting.Read(path, {.user = user});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Nerr::kInvalid);
    EXPECT_EQ(refused.error().text,
              fmt::format("cannot open {}: it does not exist, or {} or the daemon may not read it",
                          path.string(), user.Text()));
  }
  EXPECT_EQ(trusting.hits(), 0U);
}

TEST_F(NeffCacheTest, NoByteOfAFileThatIsNoNeffStandsInTheError) {
  const std::string text(2000, 'E');
  const std::string path = Write("text", ByteVector(AsBytes(text).begin(), AsBytes(text).end()));
  EXPECT_EQ(cache_.Read(std::filesystem::path(path), own_).error().text, "not a NEFF: " + path);
  ByteVector neff = Named("a");
  neff[neff::offset::kHeaderSize] = std::byte{7};
  EXPECT_EQ(cache_.Read(std::filesystem::path(Write("header", neff)), own_).error().text,
            "not a NEFF: " + folder_.File("header"));
}

// Before anything of it is charged for or copied.
TEST_F(NeffCacheTest, AFilesHeaderIsCheckedBeforeTheRestIsRead) {
  const ByteVector neff = Named("a");
  std::vector<uint64_t> reserved;
  const NeffReading reading{.user = own_.user, .reserve = [&](uint64_t bytes) -> Result<void> {
                              reserved.push_back(bytes);
                              return {};
                            }};
  const std::string path = Write("a.neff", neff);
  for (const auto& [size, words] :
       std::map<uint64_t, std::string>{{2 * kGiB, "more than its header declares"},
                                       {neff.size() - 1, "less than its header declares"},
                                       {1023, "less than the 1024 of a header"},
                                       {0, "less than the 1024 of a header"},
                                       {5 * kGiB, "larger than the limit of"}}) {
    Write("a.neff", neff);
    std::filesystem::resize_file(path, size);
    const uint64_t before = BytesRead();
    const auto refused = cache_.Read(std::filesystem::path(path), reading);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Nerr::kInvalid);
    EXPECT_NE(refused.error().text.find(words), std::string::npos) << refused.error().text;
    EXPECT_LT(BytesRead() - before, 3000U);
  }
  EXPECT_TRUE(reserved.empty());
  Write("a.neff", neff);
  Must(cache_.Read(std::filesystem::path(path), reading));
  EXPECT_EQ(reserved, std::vector<uint64_t>{neff.size()});
}

TEST_F(NeffCacheTest, AFileForWhichThereIsNoRoomIsNotRead) {
  const std::string path = Write("a.neff", Named("a"));
  const auto refused = cache_.Read(std::filesystem::path(path),
                                   {.user = own_.user, .reserve = [](uint64_t) -> Result<void> {
                                      return Fail(Nerr::kResource, "no room");
                                    }});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Nerr::kResource);
  EXPECT_EQ(refused.error().text, "no room");
  EXPECT_EQ(cache_.misses(), 0U);
}

TEST_F(NeffCacheTest, ANeffThatIsLargerThanTheLimitIsRefused) {
  const ByteVector neff = Named("a");
  const std::string path = Write("a.neff", neff);
  cache_.SetMaxNeffBytes(neff.size() - 1);
  for (const auto& refused : {cache_.Read(std::filesystem::path(path), own_), cache_.Read(neff)}) {
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().text.find("larger than the limit"), std::string::npos);
  }
}

TEST_F(NeffCacheTest, ThoseUsedLongestAgoGoFirst) {
  cache_.SetCapacity(2);
  const std::weak_ptr<const neff::Neff> a = Must(cache_.Read(Named("a")));
  const std::weak_ptr<const neff::Neff> b = Must(cache_.Read(Named("b")));
  Must(cache_.Read(Named("a")));
  Must(cache_.Read(Named("c")));
  EXPECT_FALSE(a.expired());
  EXPECT_TRUE(b.expired());
  cache_.SetCapacity(0);
  EXPECT_TRUE(a.expired());
  EXPECT_EQ(cache_.size(), 0U);
  Must(cache_.Read(Named("a")));
  EXPECT_EQ(cache_.size(), 0U);
}

TEST_F(NeffCacheTest, WhatIsRefusedIsNotKept) {
  ByteVector bad = Named("a");
  bad.resize(bad.size() - 1);
  EXPECT_FALSE(cache_.Read(bad));
  EXPECT_FALSE(cache_.Read(std::filesystem::path(folder_.File("nothing")), own_));
  EXPECT_EQ(cache_.size(), 0U);
}

TEST_F(NeffCacheTest, ACondensedNeffHasItsWeightsAndInstructionsAndNoArchive) {
  PipelineSpec spec = DoublingSpec(2);
  spec.stages[0].weights = {1, 2, 3};
  spec.stages[1].weights.assign(3000, 5);
  const neff::Neff whole = Executable(PipelineContents(spec));
  const auto condensed = Must(cache_.Read(PipelineNeff(spec)));
  EXPECT_TRUE(condensed->archive().files().empty());
  const auto& before = whole.kelfs().begin()->second.subgraphs;
  const auto& after = condensed->kelfs().begin()->second.subgraphs;
  ASSERT_EQ(before, after);  // all but the data
  for (size_t s = 0; s < before.size(); ++s) {
    for (size_t v = 0; v < before[s].variables.size(); ++v) {
      const neff::Variable& variable = after[s].variables[v];
      EXPECT_TRUE(std::ranges::equal(before[s].variables[v].data, variable.data));
      EXPECT_EQ(condensed->SharedOffset(variable).has_value(), !variable.data.empty());
    }
  }
}

// Weights and what is made of them are there once, however many networks use them.
class SharedWeightsTest : public RuntimeFixture {
 protected:
  uint64_t PackedBytes() {
    return dynamic_cast<sim::SimPlatform&>(runtime_.machine().platform()).weights().bytes();
  }
};

TEST_F(SharedWeightsTest, ReplicasHaveOneCopyOfThePackedWeights) {
  const NetworkId first = Load(DigitsNeff());
  const uint64_t packed = PackedBytes();
  EXPECT_GT(packed, 0U);
  const NetworkId second = Load(DigitsNeff());
  EXPECT_EQ(PackedBytes(), packed);
  EXPECT_EQ(runtime_.neff_cache().hits(), 1U);
  Must(runtime_.Unload(first));
  Must(runtime_.Unload(second));
  // Kept with the NEFF, for the next load.
  EXPECT_EQ(PackedBytes(), packed);
  runtime_.SetDefaults({.cached_neffs = 0});
  EXPECT_EQ(PackedBytes(), 0U);
}

TEST_F(SharedWeightsTest, NetworksForSeveralBatchesHaveOneCopyOfThePackedWeights) {
  Load(DigitsNeff());
  const uint64_t packed = PackedBytes();
  Load(DigitsNeffFor(2));
  EXPECT_EQ(PackedBytes(), packed);
}

// DRAM is their memory once they are larger than kAlignedFrom.
neff::NeffContents WithLargeWeights(StageSpec::Use use) {
  PipelineSpec spec;
  spec.count = 40 * kKiB;  // whole pages
  spec.stages[0].weights.assign(spec.count, 3);
  spec.stages[0].weights_use = use;
  return PipelineContents(spec);
}
ByteVector WithWeightsInPlace(StageSpec::Use use) {
  return NeffBytes(WithLargeWeights(use));
}

TEST_F(SharedWeightsTest, ALoadedNetworkKeepsItsWeightsWhenTheCacheLetsGoOfThem) {
  const auto network = Must(runtime_.Find(Load(WithWeightsInPlace(StageSpec::Use::kComputed))));
  EXPECT_EQ(Infer(*network, 1).value, 3);
  runtime_.SetDefaults({.cached_neffs = 0});
  EXPECT_EQ(Infer(*network, 1).value, 3);
}

TEST_F(SharedWeightsTest, WithoutACacheALoadedNetworkKeepsItsWeights) {
  runtime_.SetDefaults({.cached_neffs = 0});
  const auto network = Must(runtime_.Find(Load(WithWeightsInPlace(StageSpec::Use::kComputed))));
  EXPECT_EQ(Infer(*network, 1).value, 3);
}

TEST_F(SharedWeightsTest, WeightsThatDmaReadsAreNotTakenOver) {
  for (int load = 0; load < 2; ++load) {
    const auto network =
        Must(runtime_.Find(Load(WithWeightsInPlace(StageSpec::Use::kTransferred))));
    EXPECT_EQ(Infer(*network, 1).value, 3);
    EXPECT_EQ(Infer(*network, 1).value, 3);
    Must(runtime_.Unload(network->info().id));
  }
}

TEST_F(SharedWeightsTest, AVariableThatIsLargerThanItsFileKeepsTheFileForTheNextLoad) {
  neff::NeffContents contents = WithLargeWeights(StageSpec::Use::kComputed);
  auto& variables = contents.kelfs.begin()->second.subgraphs[0].variables;
  neff::Variable unread = variables[3];  // which would be taken over
  *variables[3].size += 4 * kKiB;
  unread.var_id = static_cast<uint32_t>(variables.size());
  unread.name = "unread";
  variables.push_back(unread);
  for (int load = 0; load < 2; ++load) {
    const auto network = Must(runtime_.Find(Load(NeffBytes(contents))));
    EXPECT_EQ(Infer(*network, 1).value, 3);
    Must(runtime_.Unload(network->info().id));
  }
  EXPECT_EQ(runtime_.neff_cache().hits(), 1U);
}

TEST_F(SharedWeightsTest, DramThatHeldSharedWeightsHoldsZerosForTheNext) {
  const NetworkId id = Load(WithWeightsInPlace(StageSpec::Use::kComputed));
  DeviceUnit& unit = runtime_.machine().unit(0);
  const auto values = [&] {
    std::set<float> seen;
    for (uint32_t channel = 0; channel < kDramChannels; ++channel) {
      std::vector<float> content(64 * kKiB);
      // A transfer lies in one range: page by page.
      for (uint64_t at = 0; at < content.size(); at += kKiB) {
        Must(unit.copier->Read(std::as_writable_bytes(std::span(content).subspan(at, kKiB)),
                               DramAddress(0, channel, at * sizeof(float))));
      }
      seen.insert(content.begin(), content.end());
    }
    return seen;
  };
  EXPECT_TRUE(values().contains(3));
  Must(runtime_.Unload(id));
  EXPECT_EQ(values(), std::set<float>{0});
}

}  // namespace
}  // namespace nrtd::runtime
