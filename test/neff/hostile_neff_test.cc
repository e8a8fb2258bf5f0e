// SPDX-License-Identifier: Apache-2.0
//
// Whole NEFFs that lie: each is refused with code 2, saying what is wrong and where.
#include <gtest/gtest.h>

#include "test/neff/matchers.h"
#include "test/neff/sample_neff.h"
#include "test/neff/tar_builder.h"

namespace nrtd::neff {
namespace {

using Files = std::map<std::string, std::string>;

TEST(HostileNeff, OfAnyOtherSizeThanDeclaredIsRefused) {
  const ByteVector whole = SampleNeff();
  for (const size_t size : {size_t{0}, size_t{1}, size_t{1023}, size_t{1024}, size_t{1025},
                            size_t{1536}, whole.size() - 512, whole.size() - 1}) {
    EXPECT_THAT(ReadNeff(ByteVector(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size))),
                FailsWith(Nerr::kInvalid, "Wrong NEFF file size"))
        << size;
  }
  ByteVector longer = whole;
  longer.push_back(std::byte{0});
  EXPECT_THAT(ReadNeff(std::move(longer)), FailsWith(Nerr::kInvalid, "Wrong NEFF file size"));
}

TEST(HostileNeff, CutOffWithAMatchingHeaderIsRefusedOrWhole) {
  const ByteVector whole = SampleNeff();
  const auto expected = SampleContents();
  const ByteSpan data = ByteSpan(whole).subspan(kHeaderSize);
  for (size_t size = 0; size < data.size(); size += 256) {
    const auto neff = ReadNeff(NeffOf(data.first(size)));
    if (neff) {
      // Only the end marker is missing.
      EXPECT_GE(size, data.size() - 1024);
      EXPECT_EQ(neff->graph(), expected.graph);
    } else {
      EXPECT_THAT(neff, FailsWith(Nerr::kInvalid, "")) << size;
    }
  }
}

TEST(HostileNeff, DeclaredSizesThatWrapAroundAreRefused) {
  ByteVector bytes = SampleNeff();
  StoreAt(bytes, offset::kDataSize, ~uint64_t{0});
  EXPECT_THAT(ReadNeff(std::move(bytes)), FailsWith(Nerr::kInvalid, "Wrong NEFF file size"));
}

TEST(HostileNeff, LargerThanTheLimitIsRefused) {
  Limits limits;
  limits.max_neff_bytes = 2000;
  EXPECT_THAT(ReadNeff(SampleNeff(), limits),
              FailsWith(Nerr::kInvalid, "larger than the limit of 2000"));
}

struct BadFile {
  const char* path;
  const char* content;  // nullptr removes the file
  const char* expected;
};

TEST(HostileNeff, WithBadFilesIsRefusedByName) {
  const std::string deep(100'000, '{');
  const BadFile cases[] = {
      {"neff.json", nullptr, "holds no neff.json"},
      {"neff.json", "", "neff.json: malformed JSON"},
      {"neff.json", deep.c_str(), "neff.json: JSON is nested deeper"},
      {"info.json", "[", "info.json: malformed JSON"},
      {"info.json", "[]", "info.json: expected an object"},
      {"info.json", "{\"name\": 3}", "info.json: name: expected text, found 3"},
      {"kelf-0.json", nullptr, "neff.json names 'kelf-0.json', which is not in the NEFF"},
      {"kelf-0.json", "{}", "kelf-0.json: has no \"graphs\""},
      {"kelf-0.json", "{\"graphs\":[]}", "kelf-0.json: graphs: a kelf without subgraphs"},
      {"kelf-0.json", "{\"graphs\":[{}]}", "graphs[0]: has no \"name\""},
      {"kelf-0.json", "{\"graphs\":[{\"name\":\"a\"}]}", "graphs[0]: has no \"definition\""},
      {"kelf-0.json", "{\"graphs\":[{\"name\":\"a\",\"definition\":\"/etc/passwd\"}]}",
       "names '/etc/passwd', which is not in the NEFF"},
      {"kelf-0.json",
       "{\"graphs\":[{\"name\":\"a\",\"definition\":\"sg00/def.json\"},"
       "{\"name\":\"b\",\"definition\":\"sg00/def.json\"}]}",
       "graphs[1].definition: 'sg00/def.json' is named twice"},
      {"kelf-0.json", "{\"target\":{},\"graphs\":[]}", "kelf-0.json: target: expected text"},
      {"sg00/def.json", nullptr, "names 'sg00/def.json', which is not in the NEFF"},
      {"sg01/def.json", "{}", "sg01/def.json: has no \"var\""},
      {"sg00/PE.bin", nullptr, "names 'sg00/PE.bin', which is not in the NEFF"},
      {"sg00/PE.json", deep.c_str(), "sg00/PE.json: JSON is nested deeper"},
      {"sg00/w.npy", "not numpy's", "'sg00/w.npy': not an npy file"},
      {"sg01/w.raw", nullptr, "names 'sg01/w.raw', which is not in the NEFF"},
  };
  for (const BadFile& bad : cases) {
    Files files = SampleFiles();
    if (bad.content == nullptr) {
      files.erase(bad.path);
    } else {
      files[bad.path] = bad.content;
    }
    for (const bool gzip : {false, true}) {
      EXPECT_THAT(ReadNeff(NeffOf(MakeTarOf(files, {.gzip = gzip}))),
                  FailsWith(Nerr::kInvalid, bad.expected))
          << bad.path;
    }
  }
}

TEST(HostileNeff, WithALinkOutOfItsTarIsRefused) {
  std::vector<TarEntry> entries;
  for (const auto& [path, content] : SampleFiles()) entries.push_back({path, content});
  entries.push_back({.path = "sg00/w2.npy", .type = AE_IFLNK, .link = "../../etc/shadow"});
  EXPECT_THAT(ReadNeff(NeffOf(MakeTar(entries))),
              FailsWith(Nerr::kInvalid, "'sg00/w2.npy' is a symbolic link"));
}

TEST(HostileNeff, ThatIsABombIsRefusedWithDefaultLimits) {
  Files files = SampleFiles();
  files["sg00/zeros"] = std::string(80 * kMiB, '\0');
  EXPECT_THAT(ReadNeff(NeffOf(MakeTarOf(files, {.gzip = true}))),
              FailsWith(Nerr::kInvalid, "decompression bomb"));
  EXPECT_THAT(ReadNeff(NeffOf(MakeTarOf(files))), Succeeds());
}

TEST(HostileNeff, LimitsCountForAllSubgraphsTogether) {
  Limits limits;
  limits.max_subgraphs = 1;
  EXPECT_THAT(ReadNeff(SampleNeff(), limits), FailsWith(Nerr::kInvalid, "2 items, at most 1"));
  limits = {};
  limits.max_descriptors = 6;
  EXPECT_THAT(ReadNeff(SampleNeff(), limits), Succeeds());
  limits.max_descriptors = 5;
  EXPECT_THAT(ReadNeff(SampleNeff(), limits), FailsWith(Nerr::kInvalid, "sg01/Pool.json"));
}

TEST(HostileNeff, EmptyIsRefused) {
  EXPECT_THAT(ReadNeff(ByteVector()), FailsWith(Nerr::kInvalid, "Wrong NEFF file size"));
  EXPECT_THAT(ReadNeff(NeffOf({})), FailsWith(Nerr::kInvalid, ""));
  const ByteVector zeros(4096);
  EXPECT_THAT(ReadNeff(NeffOf(zeros)), FailsWith(Nerr::kInvalid, ""));
}

}  // namespace
}  // namespace nrtd::neff
