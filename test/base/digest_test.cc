// SPDX-License-Identifier: Apache-2.0
//
// The vectors are those of FIPS 180-4 and RFC 1321.
#include "base/digest.h"

#include <string>

#include <gtest/gtest.h>

namespace nrtd {
namespace {

TEST(Digest, Sha256OfKnownTexts) {
  EXPECT_EQ(Hex(Sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Hex(Sha256(AsBytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Hex(Sha256(AsBytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(Hex(Sha256(AsBytes(std::string(1'000'000, 'a')))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Digest, Md5OfKnownTexts) {
  EXPECT_EQ(Hex(Md5({})), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(Hex(Md5(AsBytes("message digest"))), "f96b697d7cb7938d525a2f31aaf161d0");
}

TEST(Digest, HexIsLowerCaseAndKeepsZeros) {
  const uint8_t bytes[] = {0x00, 0x0f, 0xa0, 0xff};
  EXPECT_EQ(Hex(bytes), "000fa0ff");
  EXPECT_EQ(Hex({}), "");
}

}  // namespace
}  // namespace nrtd
