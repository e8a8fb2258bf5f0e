// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.h"

#include <string>

#include <gtest/gtest.h>

namespace nrtd {
namespace {

TEST(Bytes, LoadsAndStoresLittleEndianAtAnyOffset) {
  ByteVector bytes(16);
  StoreAt<uint32_t>(bytes, 3, 0x01020304);
  EXPECT_EQ(bytes[3], std::byte{4});
  EXPECT_EQ(bytes[6], std::byte{1});
  EXPECT_EQ(LoadAt<uint32_t>(bytes, 3), 0x01020304U);
  EXPECT_EQ(LoadAt<uint16_t>(bytes, 5), 0x0102);
}

TEST(Bytes, TextAndBytesAreViewsOfOneAnother) {
  const std::string text("a\0b", 3);
  EXPECT_EQ(AsBytes(text).size(), 3);
  EXPECT_EQ(AsText(AsBytes(text)), text);
  EXPECT_EQ(AsText(AsBytes(text)).data(), text.data());
}

}  // namespace
}  // namespace nrtd
