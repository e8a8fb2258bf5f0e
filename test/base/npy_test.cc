// SPDX-License-Identifier: Apache-2.0
#include "base/npy.h"

#include <algorithm>
#include <ostream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "test/base/scratch_directory.h"

namespace nrtd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A file of version 1.0 with this header and so many bytes of data.
std::string File(std::string_view header, size_t data_size, char major = 1) {
  std::string file = "\x93NUMPY";
  file += major;
  file += '\0';
  file += static_cast<char>(header.size() & 0xff);
  file += static_cast<char>(header.size() >> 8);
  if (major >= 2) file += std::string(2, '\0');
  file += header;
  file += std::string(data_size, '\1');
  return file;
}

TEST(Npy, WhatNumpyWritesIsRead) {
  // numpy.save(f, numpy.array([[1., 2.]], numpy.float32))
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }";
  header.resize(117, ' ');
  header += '\n';
  std::string file = File(header, 0);
  file += std::string("\0\0\x80\x3f\0\0\0\x40", 8);
  ASSERT_EQ(file.size(), 136);
  const auto view = ParseNpy(AsBytes(file));
  ASSERT_TRUE(view) << view.error().text;
  EXPECT_EQ(view->dtype, DType::kFloat32);
  EXPECT_THAT(view->shape, ElementsAre(1, 2));
  EXPECT_EQ(LoadAt<float>(view->data, 0), 1.0F);
  EXPECT_EQ(LoadAt<float>(view->data, 4), 2.0F);
}

TEST(Npy, EveryTypeAndRankComesBack) {
  for (int number = 1; number <= 13; ++number) {
    const auto dtype = static_cast<DType>(number);
    for (const Shape& shape : {Shape{}, Shape{3}, Shape{2, 3}, Shape{0, 5}, Shape{1, 2, 3, 4}}) {
      ByteVector data(*ElementCount(shape) * DTypeSize(dtype));
      for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 7);
      const ByteVector file = SerializeNpy(dtype, shape, data);
      EXPECT_EQ((file.size() - data.size()) % 64, 0);
      const auto view = ParseNpy(file);
      ASSERT_TRUE(view) << view.error().text;
      EXPECT_EQ(view->dtype, dtype);
      EXPECT_EQ(view->shape, shape);
      EXPECT_TRUE(std::ranges::equal(view->data, data));
    }
  }
}

TEST(Npy, LaterVersionsAreRead) {
  const std::string header = "{'descr': '|i1', 'fortran_order': False, 'shape': (4,), }";
  for (const char major : {1, 2, 3}) {
    const std::string file = File(header, 4, major);
    const auto view = ParseNpy(AsBytes(file));
    ASSERT_TRUE(view) << view.error().text;
    EXPECT_THAT(view->shape, ElementsAre(4));
  }
}

TEST(Npy, KeysMayComeInAnyOrder) {
  EXPECT_TRUE(ParseNpy(AsBytes(File("{'shape':(2,),'descr':'<u2','fortran_order':False}", 4))));
}

TEST(Npy, AVectorHasNoOrder) {
  EXPECT_TRUE(
      ParseNpy(AsBytes(File("{'descr': '|u1', 'fortran_order': True, 'shape': (2,), }", 2))));
}

struct Malformed {
  const char* name;
  std::string file;
  const char* text;
};
void PrintTo(const Malformed& malformed, std::ostream* out) {
  *out << malformed.name;
}

class NpyMalformed : public testing::TestWithParam<Malformed> {};

TEST_P(NpyMalformed, IsRefusedWithItsReason) {
  const auto view = ParseNpy(AsBytes(GetParam().file));
  ASSERT_FALSE(view);
  EXPECT_EQ(view.error().code, Nerr::kInvalid);
  EXPECT_THAT(view.error().text, HasSubstr(GetParam().text));
}

std::string Sound() {
  return File("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }", 16);
}
std::string Shaped(const std::string& shape, size_t data_size) {
  return File(fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': {}, }}", shape),
              data_size);
}
std::string Typed(const std::string& descr) {
  return File(fmt::format("{{'descr': {}, 'fortran_order': False, 'shape': (2,), }}", descr), 8);
}

INSTANTIATE_TEST_SUITE_P(
    Table, NpyMalformed,
    testing::Values(
        Malformed{"Empty", "", "wrong magic"}, Malformed{"MagicOnly", "\x93NUMPY", "wrong magic"},
        Malformed{"OtherMagic", "PK" + Sound().substr(2), "wrong magic"},
        Malformed{"VersionZero", File("{}", 0, 0), "version 0"},
        Malformed{"VersionFour", File("{}", 0, 4), "version 4"},
        Malformed{"CutInTheLength", File("", 0, 2).substr(0, 11), "cut off"},
        Malformed{"CutInTheHeader", Sound().substr(0, 30), "does not fit"},
        Malformed{"HeaderOfFourGigabytes", std::string("\x93NUMPY\x02\0\xff\xff\xff\xff{}", 14),
                  "does not fit"},
        Malformed{"CutInTheData", Sound().substr(0, Sound().size() - 1), "data is 15 bytes"},
        Malformed{"BytesBehindTheData", Sound() + "x", "data is 17 bytes"},
        Malformed{"NoDescr", File("{'fortran_order': False, 'shape': (2,), }", 8), "no 'descr'"},
        Malformed{"NoShape", File("{'descr': '<f4', 'fortran_order': False, }", 8), "no 'shape'"},
        Malformed{"NoOrder", File("{'descr': '<f4', 'shape': (2,), }", 8), "no 'fortran_order'"},
        Malformed{"BigEndian", Typed("'>f4'"), "type '>f4' is not supported"},
        Malformed{"Objects", Typed("'|O'"), "type '|O' is not supported"},
        Malformed{"UnclosedType", File("{'descr': '<f4", 0), "not closed"},
        Malformed{"UnclosedTypeAtTheEnd",
                  File("{'fortran_order': False, 'shape': (2,), 'descr': '<f4", 8), "not closed"},
        Malformed{"Structured", Typed("[('a', '<f4')]"), "structured"},
        Malformed{"Fortran", File("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }", 16),
                  "Fortran order"},
        Malformed{"ShapeWithoutTuple", Shaped("4", 16), "not a tuple"},
        Malformed{"ShapeUnclosed", File("{'descr': '<f4', 'fortran_order': False, 'shape': (2,", 8),
                  "not a tuple"},
        Malformed{"ShapeOfWords", Shaped("(two,)", 8), "no number at 'two"},
        Malformed{"ShapeNegative", Shaped("(-2,)", 8), "no number"},
        Malformed{"ShapeBeyondSixtyFourBits", Shaped("(99999999999999999999,)", 8), "no number"},
        Malformed{"ShapeOverflowsElements", Shaped("(4294967296, 4294967296)", 0), "data is 0"},
        Malformed{"ShapeOverflowsBytes", Shaped("(4611686018427387904,)", 0), "data is 0"},
        Malformed{"ShapeOfThirtyThree",
                  Shaped("(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)", 4),
                  "more than 32"}),
    [](const auto& tested) { return tested.param.name; });

TEST(Npy, NoPrefixOfASoundFileIsTakenForOne) {
  const std::string file = Sound();
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_FALSE(ParseNpy(AsBytes(file.substr(0, size)))) << size;
  }
  EXPECT_TRUE(ParseNpy(AsBytes(file)));
}

TEST(Npy, FilesAreReadAndNamedInErrors) {
  const ScratchDirectory scratch;
  const float values[] = {1, 2, 3};
  ASSERT_TRUE(WriteFileAtomically(
      scratch.File("a.npy"),
      SerializeNpy(DType::kFloat32, Shape{3}, std::as_bytes(std::span(values)))));
  const auto array = ReadNpyFile(scratch.File("a.npy"));
  ASSERT_TRUE(array);
  EXPECT_EQ(LoadAt<float>(array->data, 8), 3.0F);
  ASSERT_TRUE(WriteFileAtomically(scratch.File("b.npy"), AsBytes("no array")));
  EXPECT_THAT(ReadNpyFile(scratch.File("b.npy")).error().text, HasSubstr("b.npy: not an npy"));
}

}  // namespace
}  // namespace nrtd
