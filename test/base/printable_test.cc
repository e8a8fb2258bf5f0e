// SPDX-License-Identifier: Apache-2.0
#include "base/printable.h"

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace nrtd {
namespace {

using testing::EndsWith;
using testing::StartsWith;

std::string Utf8(char32_t value) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | (value >> shift & 0x3f)); };
  if (value < 0x80) return {static_cast<char>(value)};
  if (value < 0x800) return {static_cast<char>(0xc0 | value >> 6), tail(0)};
  if (value < 0x10000) return {static_cast<char>(0xe0 | value >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xf0 | value >> 18), tail(12), tail(6), tail(0)};
}

TEST(Printable, OrdinaryNamesStayAsTheyAre) {
  for (const char* name : {"", "input:0", "/dev/shm/nrt-7", "resnet50/conv1_1/W:0", "a b",
                           "it's \"quoted\" {}%", "größe", "入力", "привет", "😀", "a\u0301"}) {
    EXPECT_EQ(Printable(name), name);
    EXPECT_TRUE(IsPrintable(name)) << name;
  }
}

TEST(Printable, ControlCharactersAreEscaped) {
  EXPECT_EQ(Printable("a\nb\rc\td"), "a\\nb\\rc\\td");
  EXPECT_EQ(Printable("\x1b[2J\x07"), "\\x1b[2J\\x07");
  EXPECT_EQ(Printable(std::string_view("\0", 1)), "\\x00");
  EXPECT_EQ(Printable("\x7f"), "\\x7f");
  for (char32_t c = 0; c < 0x20; ++c) {
    EXPECT_THAT(Printable(Utf8(c)), StartsWith("\\")) << static_cast<int>(c);
    EXPECT_FALSE(IsPrintable(Utf8(c)));
  }
  // A terminal takes U+009B for ESC [.
  for (char32_t c = 0x80; c < 0xa0; ++c)
    EXPECT_EQ(Printable(Utf8(c)), fmt::format("\\u{{{:04x}}}", static_cast<uint32_t>(c)));
  EXPECT_EQ(Printable(Utf8(0xa0)), Utf8(0xa0));
}

TEST(Printable, WhatIsInvisibleOrTurnsTheTextAroundIsEscaped) {
  for (const char32_t c :
       {0xad,   0x61c,  0x180e, 0x200b,  0x200c,  0x200d,  0x200e,  0x200f, 0x2028,
        0x2029, 0x202a, 0x202e, 0x2060,  0x2066,  0x2069,  0x206f,  0xfdd0, 0xfeff,
        0xfff9, 0xfffe, 0xffff, 0x1fffe, 0xe0001, 0xe007f, 0x10ffff}) {
    EXPECT_EQ(Printable(Utf8(c)), fmt::format("\\u{{{:04x}}}", static_cast<uint32_t>(c)));
    EXPECT_FALSE(IsPrintable(Utf8(c)));
  }
  for (const char32_t c : {0xae, 0x200a, 0x2010, 0x2027, 0x202f, 0x2070, 0xfffc, 0xfffd, 0x10000})
    EXPECT_TRUE(IsPrintable(Utf8(c))) << std::hex << static_cast<uint32_t>(c);
}

TEST(Printable, BytesThatAreNotUtf8AreEscapedOneByOne) {
  EXPECT_EQ(Printable("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(Printable("a\x80"), "a\\x80");         // a tail without a lead
  EXPECT_EQ(Printable("\xc3"), "\\xc3");           // a lead at the end
  EXPECT_EQ(Printable("\xe2\x82"), "\\xe2\\x82");  // two of three bytes
  EXPECT_EQ(Printable("\xe2"
                      "a"),
            "\\xe2a");                                               // a lead without its tail
  EXPECT_EQ(Printable("\xc0\x8a"), "\\xc0\\x8a");                    // a newline, too long
  EXPECT_EQ(Printable("\xe0\x80\x8a"), "\\xe0\\x80\\x8a");           // longer still
  EXPECT_EQ(Printable("\xf0\x80\x80\x8a"), "\\xf0\\x80\\x80\\x8a");  // and longer
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // half a surrogate pair
  EXPECT_EQ(Printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // above U+10FFFF
  EXPECT_EQ(Printable("\xf8\x88\x80\x80\x80"), "\\xf8\\x88\\x80\\x80\\x80");
}

TEST(Printable, ABackslashIsDoubledSoThatEscapesCannotBeForged) {
  EXPECT_EQ(Printable("\\n"), "\\\\n");
  EXPECT_NE(Printable("\\n"), Printable("\n"));
  EXPECT_EQ(PrintableText("a\\nb\n", 100), "a\\nb\\n");
}

TEST(Printable, DifferentShortTextsLookDifferent) {
  std::map<std::string, std::string> seen;
  const auto check = [&](const std::string& text) {
    const auto [at, fresh] = seen.emplace(Printable(text), text);
    EXPECT_TRUE(fresh) << at->first;
  };
  for (int a = 0; a < 256; ++a) {
    check({static_cast<char>(a)});
    for (int b = 0; b < 256; ++b) check({static_cast<char>(a), static_cast<char>(b)});
  }
}

TEST(Printable, LongTextsAreCutBetweenCharacters) {
  EXPECT_EQ(Printable(std::string(256, 'a')), std::string(256, 'a'));
  EXPECT_EQ(Printable(std::string(257, 'a')), std::string(256, 'a') + "... (257 bytes)");
  EXPECT_EQ(Printable("abcd", 3), "abc... (4 bytes)");
  EXPECT_EQ(Printable("ab\n", 3), "ab... (3 bytes)");  // not half an escape
  EXPECT_EQ(Printable("aä", 2), "a... (3 bytes)");     // nor half a character
  EXPECT_EQ(Printable("aä", 3), "aä");
  EXPECT_EQ(Printable("a", 0), "... (1 bytes)");
}

TEST(Printable, AnyBytesBecomePrintableUtf8WithinTheLimit) {
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i) {
    std::string text(random() % 40, '\0');
    // Half of the bytes are of the kinds that begin and continue characters.
    for (char& c : text) c = static_cast<char>(random() % 2 == 0 ? random() : 0x80 | random());
    const std::string printable = Printable(text, 50);
    EXPECT_TRUE(IsPrintable(printable)) << testing::PrintToString(text);
    EXPECT_LE(printable.size(), 50 + std::string_view("... (40 bytes)").size());
    EXPECT_EQ(PrintableText(printable, 1000), printable);
  }
}

TEST(Printable, TimeDependsOnTheLimitNotOnTheText) {
  const std::string text(64 << 20, '\x1b');
  for (int i = 0; i < 1000; ++i) ASSERT_LT(Printable(text).size(), 300U);
}

TEST(FormatText, StringsOfEveryTypeArePrintable) {
  const std::string text = "a\x1b";
  const std::string_view view = text;
  const char* pointer = text.c_str();
  EXPECT_EQ(FormatText("{}|{}|{}|{}", text, view, pointer, "a\x1b"), "a\\x1b|a\\x1b|a\\x1b|a\\x1b");
  EXPECT_EQ(FormatText("{}", std::string("\n")), "\\n");
  EXPECT_EQ(FormatText("{:>6}|{:<4}|{:x}|{}", text, "b", 255, true), " a\\x1b|b   |ff|true");
}

TEST(FormatText, ALongStringIsCutAndWhatIsComposedIsNot) {
  const std::string text(1000, 'a');
  EXPECT_THAT(FormatText("{} is long", text), EndsWith("aaa... (1000 bytes) is long"));
  EXPECT_EQ(FormatText("{}", AsIs(text)), text);
}

TEST(Fail, NamesCannotForgeAMessage) {
  const auto failed = Fail(Nerr::kInvalid, "no tensor '{}'", "a\n\x1b[31mb");
  EXPECT_EQ(failed.value().text, "no tensor 'a\\n\\x1b[31mb'");
  Error error = std::move(Error{Nerr::kInvalid, "no"}).In("b\n" + std::string(300, 'c'));
  EXPECT_TRUE(IsPrintable(error.text));
  EXPECT_LT(error.text.size(), 300U);
}

TEST(Fail, AnErrorInsideAnErrorIsNotEscapedTwice) {
  const auto inner = Fail(Nerr::kInvalid, "'{}'", "\\");
  const auto outer = Fail(Nerr::kInvalid, "outer: {}", AsIs(inner.value().text));
  EXPECT_EQ(outer.value().text, "outer: '\\\\'");
}

}  // namespace
}  // namespace nrtd
