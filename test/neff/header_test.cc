// SPDX-License-Identifier: Apache-2.0
#include "neff/header.h"

#include <gtest/gtest.h>

#include "test/neff/matchers.h"

namespace nrtd::neff {
namespace {

Header Full() {
  Header header;
  header.pkg_version = PackageVersion::kMd5;
  header.data_size = 0x123456789a;
  header.version_major = 1;
  header.version_minor = 0;
  header.build_version = "1.0.6905.0";
  header.num_tpb = 6;
  header.hash.fill(0xab);
  header.uuid.fill(0xcd);
  header.name = "file.neff";
  header.requested_tpb_count = 4;
  header.tpb_per_node[0] = 4;
  header.tpb_per_node[63] = 2;
  header.feature_bits = 0x8000000000000001;
  header.lnc_size = 2;
  return header;
}

ByteVector Bytes(const Header& header) {
  const auto bytes = SerializeHeader(header).value();
  return {bytes.begin(), bytes.end()};
}

TEST(NeffHeader, SurvivesSerializeAndParse) {
  EXPECT_EQ(ParseHeader(Bytes(Full())).value(), Full());
}

TEST(NeffHeader, HasItsFieldsWhereClientsReadThem) {
  const ByteVector bytes = Bytes(Full());
  ASSERT_EQ(bytes.size(), 1024u);
  EXPECT_EQ(LoadAt<uint64_t>(bytes, 0), 2u);
  EXPECT_EQ(LoadAt<uint64_t>(bytes, 8), 1024u);
  EXPECT_EQ(LoadAt<uint64_t>(bytes, 16), 0x123456789au);
  EXPECT_EQ(LoadAt<uint64_t>(bytes, 24), 1u);
  EXPECT_EQ(LoadAt<uint32_t>(bytes, 168), 6u);
  EXPECT_EQ(LoadAt<uint8_t>(bytes, 172), 0xab);
  EXPECT_EQ(LoadAt<uint8_t>(bytes, 204), 0xcd);
  EXPECT_EQ(AsText(ByteSpan(bytes).subspan(220, 10)), std::string_view("file.neff\0", 10));
  EXPECT_EQ(LoadAt<uint32_t>(bytes, 476), 4u);
  EXPECT_EQ(LoadAt<uint8_t>(bytes, 480), 4u);
  EXPECT_EQ(LoadAt<uint8_t>(bytes, 543), 2u);
  EXPECT_EQ(LoadAt<uint64_t>(bytes, 544), 0x8000000000000001u);
  EXPECT_EQ(LoadAt<uint32_t>(bytes, 552), 2u);
}

TEST(NeffHeader, OfTooFewBytesIsAWrongFileSize) {
  const ByteVector bytes = Bytes(Full());
  for (const size_t size : {0, 1, 8, 1023}) {
    EXPECT_THAT(ParseHeader(ByteSpan(bytes).first(size)),
                FailsWith(Nerr::kInvalid, "Wrong NEFF file size"));
  }
}

TEST(NeffHeader, OfAnotherPackageVersionIsNoNeff) {
  for (const uint64_t version : {0ull, 3ull, 0x04034b50ull}) {
    ByteVector bytes = Bytes(Full());
    StoreAt(bytes, 0, version);
    EXPECT_THAT(ParseHeader(bytes), FailsWith(Nerr::kInvalid, "not a NEFF"));
  }
}

TEST(NeffHeader, OfAnotherSizeIsRefused) {
  for (const uint64_t size : {0ull, 1023ull, 2048ull, ~0ull}) {
    ByteVector bytes = Bytes(Full());
    StoreAt(bytes, 8, size);
    EXPECT_THAT(ParseHeader(bytes), FailsWith(Nerr::kInvalid, "does not declare a size of"));
  }
}

TEST(NeffHeader, SaysWhenTheFileHasAnotherSize) {
  Header header;
  header.data_size = 100;
  EXPECT_THAT(CheckFileSize(header, 1124), Succeeds());
  for (const uint64_t size : {0ull, 100ull, 1123ull, 1125ull}) {
    EXPECT_THAT(CheckFileSize(header, size), FailsWith(Nerr::kInvalid, "Wrong NEFF file size"));
  }
  header.data_size = ~0ull;  // 1024 + data_size wraps around to 1023
  EXPECT_THAT(CheckFileSize(header, 1023), FailsWith(Nerr::kInvalid, "Wrong NEFF file size"));
}

TEST(NeffHeader, TextsWithoutAZeroEndAtTheirField) {
  ByteVector bytes = Bytes(Full());
  for (size_t i = 0; i < 256; ++i) bytes[220 + i] = std::byte{'n'};
  EXPECT_EQ(ParseHeader(bytes)->name, std::string(256, 'n'));
}

TEST(NeffHeader, TextsThatAreNotAsciiAreMadePrintable) {
  ByteVector bytes = Bytes(Full());
  bytes[220] = std::byte{0xff};
  bytes[221] = std::byte{'\n'};
  EXPECT_EQ(ParseHeader(bytes)->name, "??le.neff");
}

TEST(NeffHeader, TextsThatDoNotFitAreRefused) {
  Header header;
  header.name = std::string(256, 'n');
  EXPECT_THAT(SerializeHeader(header), FailsWith(Nerr::kInvalid, "name of 256 bytes"));
  header.name = std::string(255, 'n');
  EXPECT_THAT(SerializeHeader(header), Succeeds());
  header.build_version = std::string(128, 'b');
  EXPECT_THAT(SerializeHeader(header), FailsWith(Nerr::kInvalid, "build version of 128 bytes"));
}

TEST(NeffHeader, Md5TakesHalfOfTheHash) {
  const auto hash = DataHash(PackageVersion::kMd5, AsBytes("abc"));
  EXPECT_EQ(hash[0], 0x90);  // 900150983cd24fb0d6963f7d28e17f72, RFC 1321
  EXPECT_EQ(hash[15], 0x72);
  EXPECT_EQ(hash[16], 0);
  EXPECT_EQ(DataHash(PackageVersion::kSha256, AsBytes("abc"))[0], 0xba);  // FIPS 180-2
}

}  // namespace
}  // namespace nrtd::neff
