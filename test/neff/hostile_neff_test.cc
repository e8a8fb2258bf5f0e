// SPDX-License-Identifier: Apache-2.0
//
// Whole NEFFs that lie: each is refused with code 2, saying what is wrong and where.
#include <random>

#include <gtest/gtest.h>

#include "base/printable.h"
#include "base/sanitized.h"
#include "neff/validator.h"
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

// Of every file, with every string in turn made hostile, and with bytes changed at random.
TEST(HostileNeff, EveryErrorTextIsShortAndPrintable) {
  const auto check = [](const std::string& path, const Files& files) {
    const auto read = ReadExecutable(NeffOf(MakeTarOf(files)), kSimTarget);
    if (read) return;
    EXPECT_TRUE(IsPrintable(read.error().text)) << path << Printable(read.error().text, 4096);
    EXPECT_LT(read.error().text.size(), 2 * kKiB) << path;
  };
  const std::string evil = R"("\u001b[2J\u202e\n)";
  const std::string names[] = {evil + '"', evil + std::string(900, 'x') + '"',
                               evil + std::string(5'000, 'x') + '"'};
  std::mt19937 random(7);
  // All of them take minutes under a sanitizer; every 13th still has every kind of string.
  const size_t step = kSanitized ? 13 : 1;
  size_t strings = 0;
  for (const auto& [path, content] : SampleFiles()) {
    for (const std::string& name : names) {
      for (size_t at = 0; (at = content.find('"', at)) != std::string::npos;) {
        const size_t end = content.find('"', at + 1);
        if (end == std::string::npos) break;
        if (++strings % step != 0) {
          at = end + 1;
          continue;
        }
        Files files = SampleFiles();
        files[path].replace(at, end + 1 - at, name);
        check(path, files);
        at = end + 1;
      }
    }
    for (int i = 0; i < 10 && !content.empty(); ++i) {
      Files files = SampleFiles();
      for (int changed = 0; changed < 3; ++changed)
        files[path][random() % content.size()] = static_cast<char>(random());
      check(path, files);
    }
  }
}

TEST(HostileNeff, WithANameBeyondTheLimitIsRefused) {
  Files files = SampleFiles();
  files["info.json"] = R"({"name": ")" + std::string(kMaxNameBytes, 'n') + "\"}";
  EXPECT_THAT(ReadNeff(NeffOf(MakeTarOf(files))), Succeeds());
  files["info.json"] = R"({"name": ")" + std::string(kMaxNameBytes + 1, 'n') + "\"}";
  EXPECT_THAT(ReadNeff(NeffOf(MakeTarOf(files))),
              FailsWith(Nerr::kInvalid, "info.json: name: a name of 1025 bytes"));
  files["info.json"] = R"({")" + std::string(kMaxNameBytes + 1, 'n') + R"(": 1})";
  EXPECT_THAT(ReadNeff(NeffOf(MakeTarOf(files))), Succeeds());  // a key that nothing reads
  files["info.json"] = R"({"name": ")" + std::string(2 * kMiB, 'n');
  EXPECT_THAT(ReadNeff(NeffOf(MakeTarOf(files))),
              FailsWith(Nerr::kInvalid, "a string or number of more than 1048576 bytes"));
}

TEST(HostileNeff, RefusedNamesWhatToDo) {
  EXPECT_THAT(ReadNeff(ByteVector(100)), FailsWith(Nerr::kInvalid, "send the whole file"));
  EXPECT_THAT(ReadNeff(ByteVector(2000)), FailsWith(Nerr::kInvalid, "neuron-cc compile"));
  Files files = SampleFiles();
  files.erase("sg00/PE.bin");
  EXPECT_THAT(ReadNeff(NeffOf(MakeTarOf(files))), FailsWith(Nerr::kInvalid, "pack it again"));
}

}  // namespace
}  // namespace nrtd::neff
