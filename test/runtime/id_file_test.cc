// SPDX-License-Identifier: Apache-2.0
#include "runtime/state/id_file.h"

#include <csignal>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "runtime/state/ids.h"
#include "test/base/scratch_directory.h"
#include "test/must.h"

namespace nrtd::runtime {
namespace {

using ::testing::HasSubstr;

constexpr IdFile::Counts kInitial{.run = 5, .networks = 10'001, .groups = 1};

class IdFileTest : public ::testing::Test {
 protected:
  std::shared_ptr<IdFile> Open() { return Must(IdFile::Open(state_, kInitial)); }
  std::string ErrorOfOpening() {
    const auto opened = IdFile::Open(state_, kInitial);
    return opened ? "it was opened" : opened.error().text;
  }
  std::string Path() const { return state_ + "/ids"; }

  ScratchDirectory folder_;
  const std::string state_ = folder_.File("made/with/its/parents");
};

TEST_F(IdFileTest, WhatWasReservedIsNotHandedOutAgain) {
  {
    const auto file = Open();
    EXPECT_EQ(file->begin(), (IdFile::Counts{6, 10'001, 1}));
    EXPECT_EQ(Must(file->ReserveNetworks(10'001)), 11'025U);
    EXPECT_EQ(Must(file->ReserveGroups(1)), 1'025U);
    EXPECT_EQ(Must(file->ReserveGroups(1'025)), 2'049U);
  }
  EXPECT_EQ(Open()->begin(), (IdFile::Counts{7, 11'025, 2'049}));
  EXPECT_EQ(Open()->begin(), (IdFile::Counts{8, 11'025, 2'049}));
}

// A daemon that dies leaves its file as it is at that moment: reserved, and nothing said of what
// was used.
TEST_F(IdFileTest, ACrashBetweenReservingAndUsingCostsABlockAndRepeatsNothing) {
  uint32_t last = 0;
  for (int run = 0; run < 3; ++run) {
    const auto file = Open();
    scheduler::IdSequence ids(
        {file->begin().networks, [&](uint32_t next) { return file->ReserveNetworks(next); }});
    for (uint32_t i = 0; i < IdFile::kBlock + 10; ++i) {
      const uint32_t id = Must(ids.Next());
      EXPECT_GT(id, last);
      EXPECT_LT(id, Must(IdFile::Parse(Must(ReadTextFile(Path())))).networks);
      last = id;
    }
  }
}

// What a crash in the middle of writing leaves: the new file beside the old one.
TEST_F(IdFileTest, AHalfWrittenNewFileIsIgnored) {
  (void)Must(Open()->ReserveNetworks(10'001));
  std::ofstream(state_ + "/ids.new") << "neuron-rtd ids 1\nrun ";
  EXPECT_EQ(Open()->begin(), (IdFile::Counts{7, 11'025, 1}));
}

TEST_F(IdFileTest, ADamagedFileIsRefusedWithTheRemedy) {
  (void)Open();
  const std::string whole = IdFile::Format(kInitial);
  for (const std::string& text :
       {std::string(), std::string("garbage"), whole.substr(0, whole.size() - 1), whole + "x",
        std::string("neuron-rtd ids 2\nrun 1\nnetworks 2\ngroups 3\n"),
        std::string("neuron-rtd ids 1\nrun 1\nnetworks 99999999999\ngroups 3\n"),
        std::string("neuron-rtd ids 1\nrun -1\nnetworks 2\ngroups 3\n"),
        std::string(100'000, '1')}) {
    std::ofstream(Path(), std::ios::trunc) << text;
    EXPECT_THAT(ErrorOfOpening(), HasSubstr(Path() + ": ")) << text.substr(0, 100);
    EXPECT_THAT(ErrorOfOpening(), HasSubstr("Remove the file: ids then begin at random numbers"));
    EXPECT_EQ(Must(ReadTextFile(Path())), text);
  }
}

TEST_F(IdFileTest, TwoDaemonsDoNotShareADirectory) {
  const auto first = Open();
  EXPECT_THAT(ErrorOfOpening(), HasSubstr("is in use by another daemon"));
}

TEST_F(IdFileTest, WithoutRoomNothingIsReservedAndWhatWasStays) {
  const auto file = Open();
  (void)Must(file->ReserveNetworks(10'001));
  const std::string before = Must(ReadTextFile(Path()));
  const auto former = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  rlimit small = limit;
  small.rlim_cur = 10;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto refused = file->ReserveNetworks(11'025);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::signal(SIGXFSZ, former);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Nerr::kResource);
  EXPECT_THAT(refused.error().text, HasSubstr("cannot reserve ids in " + Path()));
  EXPECT_EQ(Must(ReadTextFile(Path())), before);
  EXPECT_FALSE(std::filesystem::exists(state_ + "/ids.new"));
  EXPECT_EQ(Must(file->ReserveNetworks(11'025)), 12'049U);
}

TEST_F(IdFileTest, ADirectoryThatCannotBeOneIsNamed) {
  std::filesystem::create_directories(folder_.File("made/with/its"));
  std::ofstream(state_) << "a file";
  EXPECT_THAT(ErrorOfOpening(), HasSubstr("cannot use the state directory " + state_));
}

TEST(IdSequenceTest, AnIdThatCannotBeReservedIsTriedAgain) {
  bool full = true;
  scheduler::IdSequence ids({7, [&](uint32_t next) -> Result<uint32_t> {
                               if (full) return Fail(Nerr::kResource, "full");
                               return next + 2;
                             }});
  EXPECT_EQ(ids.Next().error().text, "full");
  full = false;
  EXPECT_EQ(Must(ids.Next()), 7U);
  EXPECT_EQ(Must(ids.Next()), 8U);
  full = true;
  EXPECT_FALSE(ids.Next().has_value());
  full = false;
  EXPECT_EQ(Must(ids.Next()), 9U);
}

TEST(IdSequenceTest, TheLastIdIsTheLast) {
  scheduler::IdSequence ids({UINT32_MAX - 1});
  EXPECT_EQ(Must(ids.Next()), UINT32_MAX - 1);
  EXPECT_EQ(ids.Next().error().code, Nerr::kResource);
  EXPECT_EQ(ids.Next().error().code, Nerr::kResource);
}

TEST(ChooseIdsTest, AFreshFolderBeginsAs1xDidAndOnlyOnce) {
  ScratchDirectory folder;
  const IdBases first = Must(ChooseIds({.fresh_folder = folder.path()}));
  EXPECT_EQ(first.networks.first, 10'001U);
  EXPECT_EQ(first.groups.first, 1U);
  EXPECT_TRUE(std::filesystem::exists(folder.File(kFolderMark)));
  // As if it were fresh again: the mark could not be made.
  const IdBases second = Must(ChooseIds({.fresh_folder = folder.path()}));
  EXPECT_NE(second.networks.first, 10'001U);
}

TEST(ChooseIdsTest, WithoutOneAllBeginAtRandomWithinTheirBounds) {
  for (int i = 0; i < 100; ++i) {
    const IdBases a = Must(ChooseIds({}));
    const IdBases b = Must(ChooseIds({}));
    for (const uint32_t first : {a.networks.first, a.groups.first}) {
      EXPECT_GE(first, 1U << 20);
      EXPECT_LE(first, (1U << 31) - (1U << 24));
    }
    EXPECT_NE(a.networks.first, b.networks.first);
    EXPECT_NE(a.first_session, b.first_session);
    EXPECT_NE(a.first_cookie, b.first_cookie);
    for (const uint64_t first : {a.first_session, a.first_cookie}) {
      EXPECT_GT(first, uint64_t{1} << 32);
      EXPECT_LT(first, uint64_t{1} << 62);
    }
  }
}

TEST(ChooseIdsTest, AStateDirectoryGoesOnWhereTheLastRunEnded) {
  ScratchDirectory state;
  IdBases first = Must(ChooseIds({state.path(), state.path()}));
  EXPECT_EQ(first.networks.first, 10'001U);
  EXPECT_FALSE(std::filesystem::exists(state.File(kFolderMark)));
  EXPECT_EQ(Must(scheduler::IdSequence(first.networks).Next()), 10'001U);
  const scheduler::SessionId first_session = first.first_session;
  first = {};  // the daemon has gone
  const IdBases second = Must(ChooseIds({state.path(), state.path()}));
  EXPECT_EQ(second.networks.first, 11'025U);
  EXPECT_EQ(second.groups.first, 1U);
  EXPECT_EQ(second.first_session - first_session, uint64_t{1} << 40);
  EXPECT_EQ(second.first_cookie, second.first_session);
}

}  // namespace
}  // namespace nrtd::runtime
