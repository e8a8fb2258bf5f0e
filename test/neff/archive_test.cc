// SPDX-License-Identifier: Apache-2.0
#include "neff/archive.h"

#include <random>

#include <gtest/gtest.h>

#include "test/neff/matchers.h"
#include "test/neff/tar_builder.h"

namespace nrtd::neff {
namespace {

std::string TextOf(const Archive& archive, std::string_view path) {
  const auto bytes = archive.Find(path);
  return bytes ? std::string(AsText(*bytes)) : "(none)";
}

// Bytes that do not compress.
std::string Noise(size_t size) {
  std::mt19937 generator(1);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(generator());
  return text;
}

TEST(NeffArchive, ReadsAPlainTarWithoutCopying) {
  const std::string large = Noise(3'000'000);
  const ByteVector tar = MakeTar({{"a.json", "{}"}, {"sg00/w.npy", large}, {"empty", ""}});
  const auto archive = Archive::Read(tar);
  ASSERT_THAT(archive, Succeeds());
  EXPECT_FALSE(archive->compressed());
  EXPECT_EQ(archive->files().size(), 3u);
  EXPECT_EQ(TextOf(*archive, "a.json"), "{}");
  EXPECT_EQ(TextOf(*archive, "empty"), "");
  EXPECT_EQ(TextOf(*archive, "sg00/w.npy"), large);
  const ByteSpan weights = *archive->Find("sg00/w.npy");
  EXPECT_GE(weights.data(), tar.data());
  EXPECT_LE(weights.data() + weights.size(), tar.data() + tar.size());
  EXPECT_FALSE(archive->Find("sg00"));
}

TEST(NeffArchive, OwnsWhatItUnpacked) {
  const std::string large = Noise(1'000'000);
  Archive moved;
  {
    const ByteVector tar = MakeTar({{"sg00/w.npy", large}}, {.gzip = true});
    auto archive = Archive::Read(tar);
    ASSERT_THAT(archive, Succeeds());
    EXPECT_TRUE(archive->compressed());
    moved = std::move(*archive);
  }
  EXPECT_EQ(TextOf(moved, "sg00/w.npy"), large);
}

TEST(NeffArchive, ReadsGnuAndPaxNamesOfAnyLength) {
  const std::string name = std::string(90, 'a') + "/" + std::string(150, 'b');
  for (const bool gnu : {false, true}) {
    const ByteVector tar = MakeTar({{name, "content"}}, {.gnu = gnu});
    const auto archive = Archive::Read(tar);
    ASSERT_THAT(archive, Succeeds());
    EXPECT_EQ(TextOf(*archive, name), "content");
  }
}

TEST(NeffArchive, DoesNotLookAtModesAndOwners) {
  const ByteVector tar = MakeTar(
      std::vector<TarEntry>{{.path = "none", .content = "1", .mode = 0},
                            {.path = "setuid", .content = "2", .mode = 06777, .owner = "nobody"}});
  const auto archive = Archive::Read(tar);
  ASSERT_THAT(archive, Succeeds());
  EXPECT_EQ(TextOf(*archive, "none"), "1");
  EXPECT_EQ(TextOf(*archive, "setuid"), "2");
}

TEST(NeffArchive, PassesOverFoldersAndALeadingDot) {
  const ByteVector tar =
      MakeTar(std::vector<TarEntry>{{.path = "./", .type = AE_IFDIR},
                                    {.path = "./sg00/", .type = AE_IFDIR},
                                    {.path = "./sg00/def.json", .content = "x"}});
  const auto archive = Archive::Read(tar);
  ASSERT_THAT(archive, Succeeds());
  EXPECT_EQ(archive->files().size(), 1u);
  EXPECT_EQ(TextOf(*archive, "sg00/def.json"), "x");
}

TEST(NeffArchive, ToleratesZerosBehindTheEnd) {
  for (const bool gzip : {false, true}) {
    ByteVector tar = MakeTar({{"a", "content"}}, {.gzip = gzip});
    for (const size_t padding : {1, 511, 512, 70'000}) {
      tar.resize(tar.size() + padding);
      const auto archive = Archive::Read(tar);
      ASSERT_THAT(archive, Succeeds()) << padding;
      EXPECT_EQ(TextOf(*archive, "a"), "content");
    }
  }
}

TEST(NeffArchive, RefusesGarbageBehindTheEnd) {
  for (const bool gzip : {false, true}) {
    for (const size_t padding : {0, 1, 1000, 70'000}) {
      ByteVector tar = MakeTar({{"a", "content"}}, {.gzip = gzip});
      tar.resize(tar.size() + padding);
      tar.push_back(std::byte{1});
      EXPECT_THAT(Archive::Read(tar), FailsWith(Nerr::kInvalid, "bytes other than 0"))
          << gzip << padding;
    }
  }
}

TEST(NeffArchive, RefusesGarbageBehindTheEndOfTheTarInsideTheGzip) {
  // gzip streams in a row unpack to all of their contents: a second tar behind the first one's end.
  ByteVector zipped = MakeTar({{"a", "content"}}, {.gzip = true});
  const ByteVector again = zipped;
  zipped.insert(zipped.end(), again.begin(), again.end());
  EXPECT_THAT(Archive::Read(zipped), FailsWith(Nerr::kInvalid, "behind the tar's end"));
}

TEST(NeffArchive, CutOffAnywhereIsRefusedOrWhole) {
  const std::string content(2000, 'c');
  for (const bool gzip : {false, true}) {
    const ByteVector tar = MakeTar({{"a", content}}, {.gzip = gzip});
    for (size_t size = 1; size < tar.size(); size += gzip ? 1 : 37) {
      const auto archive = Archive::Read(ByteSpan(tar).first(size));
      // A plain tar that lost only its end marker still holds its file.
      if (archive && !archive->files().empty()) {
        EXPECT_FALSE(gzip) << size;
        EXPECT_GE(size, 512u + 2048) << size;
        EXPECT_EQ(TextOf(*archive, "a"), content);
      } else {
        EXPECT_THAT(archive, FailsWith(Nerr::kInvalid, "")) << size;
      }
    }
  }
}

TEST(NeffArchive, RefusesWhatIsNoTar) {
  EXPECT_THAT(Archive::Read(AsBytes(std::string(2000, 'x'))), FailsWith(Nerr::kInvalid, "tar"));
  EXPECT_THAT(Archive::Read(AsBytes("\x1f\x8b no gzip")), FailsWith(Nerr::kInvalid, "gzip"));
  EXPECT_THAT(Archive::Read(MakeTar({{"a", "x"}}, {.xz = true})),
              FailsWith(Nerr::kInvalid, "not a tar"));
}

TEST(NeffArchive, ADamagedHeaderIsRefused) {
  ByteVector tar = MakeTar({{"a", "x"}, {"b", "y"}});
  tar[1024] = std::byte{'z'};  // the second entry's name, without its checksum
  EXPECT_THAT(Archive::Read(tar), FailsWith(Nerr::kInvalid, "damaged"));
}

struct BadEntry {
  const char* what;
  TarEntry entry;
  const char* expected;
};

TEST(NeffArchive, RefusesEntriesThatEscapeOrAreNoFiles) {
  const BadEntry cases[] = {
      {"absolute", {.path = "/etc/passwd", .content = "x"}, "absolute path '/etc/passwd'"},
      {"parent", {.path = "../x", .content = "x"}, "part '..'"},
      {"parent inside", {.path = "sg00/../../x", .content = "x"}, "part '..'"},
      {"parent at the end", {.path = "sg00/..", .content = "x"}, "part '..'"},
      {"dot inside", {.path = "sg00/./x", .content = "x"}, "part '.'"},
      {"empty part", {.path = "sg00//x", .content = "x"}, "part ''"},
      {"parent folder", {.path = "../", .type = AE_IFDIR}, "part '..'"},
      {"symbolic link", {.path = "x", .type = AE_IFLNK, .link = "/etc/passwd"}, "a symbolic link"},
      {"hard link", {.path = "x", .link = "neff.json", .hard_link = true}, "a hard link"},
      {"character device", {.path = "x", .type = AE_IFCHR}, "a device"},
      {"block device", {.path = "x", .type = AE_IFBLK}, "a device"},
      {"pipe", {.path = "x", .type = AE_IFIFO}, "a named pipe"},
      {"long path", {.path = std::string(600, 'x'), .content = "x"}, "a path of 600 bytes"},
  };
  for (const BadEntry& bad : cases) {
    for (const bool gzip : {false, true}) {
      const ByteVector tar = MakeTar(
          std::vector<TarEntry>{{.path = "neff.json", .content = "{}"}, bad.entry}, {.gzip = gzip});
      EXPECT_THAT(Archive::Read(tar), FailsWith(Nerr::kInvalid, bad.expected)) << bad.what;
    }
  }
}

TEST(NeffArchive, RefusesTheSamePathTwice) {
  const std::vector<TarEntry> same = {{.path = "a", .content = "1"}, {.path = "a", .content = "2"}};
  EXPECT_THAT(Archive::Read(MakeTar(same)), FailsWith(Nerr::kInvalid, "'a' twice"));
  const std::vector<TarEntry> dotted = {{.path = "a", .content = "1"},
                                        {.path = "./a", .content = "2"}};
  EXPECT_THAT(Archive::Read(MakeTar(dotted)), FailsWith(Nerr::kInvalid, "'a' twice"));
}

TEST(NeffArchive, RefusesAZeroByteHiddenInALongName) {
  const std::string name = std::string(120, 'a') + "XY" + std::string(120, 'b');
  for (const bool gnu : {false, true}) {
    ByteVector tar = MakeTar({{name, "content"}}, {.gnu = gnu});
    const size_t at = AsText(tar).find("XY");
    ASSERT_NE(at, std::string_view::npos);
    tar[at] = std::byte{0};
    EXPECT_THAT(Archive::Read(tar), FailsWith(Nerr::kInvalid, "0 byte")) << gnu;
  }
}

TEST(NeffArchive, RefusesASizeBeyondTheTarBeforeReadingIt) {
  ByteVector tar = MakeTar({{"a", "content"}});
  std::memcpy(tar.data() + 124, "77777777777", 11);  // 8 GiB - 1
  FixChecksum(tar, 0);
  EXPECT_THAT(Archive::Read(tar), FailsWith(Nerr::kInvalid, "declares 8589934591 bytes"));
  // GNU's binary form: 2^62.
  const unsigned char huge[12] = {0x80, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0};
  std::memcpy(tar.data() + 124, huge, sizeof(huge));
  FixChecksum(tar, 0);
  EXPECT_THAT(Archive::Read(tar), FailsWith(Nerr::kInvalid, "declares 4611686018427387904 bytes"));
}

TEST(NeffArchive, RefusesSparseFiles) {
  // GNU's sparse form: type 'S', one piece of 512 bytes at 0, and a real size of 1 GiB.
  ByteVector tar = MakeTar({{"a", std::string(512, 'x')}}, {.gnu = true});
  tar[156] = std::byte{'S'};
  std::memcpy(tar.data() + 386,
              "00000000000\0"
              "00000001000\0",
              24);
  std::memcpy(tar.data() + 483, "10000000000\0", 12);
  FixChecksum(tar, 0);
  EXPECT_THAT(Archive::Read(tar), FailsWith(Nerr::kInvalid, "a sparse file"));
}

TEST(NeffArchive, RefusesADecompressionBombByItsRatio) {
  Limits limits;
  limits.ratio_free_bytes = 1 * kMiB;
  const ByteVector bomb = MakeTar({{"a", std::string(8 * kMiB, '\0')}}, {.gzip = true});
  ASSERT_LT(bomb.size(), 16 * kKiB);
  EXPECT_THAT(Archive::Read(bomb, limits), FailsWith(Nerr::kInvalid, "decompression bomb"));
  limits.ratio_free_bytes = 16 * kMiB;
  EXPECT_THAT(Archive::Read(bomb, limits), Succeeds());
}

TEST(NeffArchive, RefusesMoreThanItsLimits) {
  Limits limits;
  limits.max_unpacked_bytes = 8 * kKiB;
  const std::string half(5000, 'x');
  EXPECT_THAT(Archive::Read(MakeTar({{"a", half}, {"b", half}}), limits),
              FailsWith(Nerr::kInvalid, "limit of 8192 bytes, at 'b'"));
  EXPECT_THAT(Archive::Read(MakeTar({{"a", half}, {"b", half}}, {.gzip = true}), limits),
              FailsWith(Nerr::kInvalid, "limit of 8192 bytes"));
  limits.max_files = 2;
  EXPECT_THAT(Archive::Read(MakeTar({{"a", ""}, {"b", ""}}), limits), Succeeds());
  EXPECT_THAT(Archive::Read(MakeTar({{"a", ""}, {"b", ""}, {"c", ""}}), limits),
              FailsWith(Nerr::kInvalid, "more than 2 files"));
}

TEST(NeffArchive, FromFilesChecksTheSame) {
  Limits limits;
  limits.max_files = 1;
  limits.max_unpacked_bytes = 3;
  EXPECT_THAT(Archive::FromFiles({{"a", AsBytes("xyz")}}, limits), Succeeds());
  EXPECT_THAT(Archive::FromFiles({{"a", AsBytes("wxyz")}}, limits),
              FailsWith(Nerr::kInvalid, "at 'a'"));
  EXPECT_THAT(Archive::FromFiles({{"a", {}}, {"b", {}}}, limits),
              FailsWith(Nerr::kInvalid, "more than 1 files"));
  EXPECT_THAT(Archive::FromFiles({{"../a", {}}}), FailsWith(Nerr::kInvalid, "'..'"));
  EXPECT_THAT(Archive::FromFiles({{std::string("a\0b", 3), {}}}),
              FailsWith(Nerr::kInvalid, "0 byte"));
  EXPECT_THAT(Archive::FromFiles({{"", {}}}), FailsWith(Nerr::kInvalid, "without a name"));
}

}  // namespace
}  // namespace nrtd::neff
