// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <fstream>
#include <future>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serving/batching/batch_scheduler.h"
#include "serving/batching/merge.h"
#include "test/base/scratch_directory.h"
#include "test/must.h"
#include "test/serving/tensors.h"

namespace nrtd::serving {
namespace {

using ::testing::HasSubstr;

TEST(Merge, PutsRowsTogetherAndFillsUpWithTheLastRequestsFirst) {
  const Tensors a{{"x", Ints({1, 2}, {1, 2})}};
  const Tensors b{{"x", Ints({2, 2}, {3, 4, 5, 6})}};
  const Tensors merged = Must(Merge({&a, &b}, 5, false));
  EXPECT_EQ(merged.at("x").shape(), (Shape{5, 2}));
  EXPECT_EQ(merged.at("x").bytes(), Ints({10}, {1, 2, 3, 4, 5, 6, 3, 4, 3, 4}).bytes());
  EXPECT_EQ(Must(RowsAt(merged, 5, 1, 2)).at("x").bytes(), b.at("x").bytes());
}

TEST(Merge, PadsVariableLengthsOnlyWhereItMay) {
  const Tensors a{{"x", Ints({1, 2, 1}, {1, 2})}};
  const Tensors b{{"x", Ints({1, 1, 3}, {3, 4, 5})}};
  EXPECT_THAT(Merge({&a, &b}, 2, false).error().text, HasSubstr("padding is turned off."));
  const Tensors merged = Must(Merge({&a, &b}, 2, true));
  EXPECT_EQ(merged.at("x").shape(), (Shape{2, 2, 3}));
  EXPECT_EQ(merged.at("x").bytes(), Ints({12}, {1, 1, 1, 2, 1, 1, 3, 4, 5, 3, 3, 3}).bytes());
}

TEST(Merge, SaysWhatIsNoBatch) {
  EXPECT_THAT(RowsOf({}).error().text, HasSubstr("at least one input tensor"));
  EXPECT_THAT(RowsOf({{"x", Ints({}, {1})}}).error().text, HasSubstr("at least one dimension"));
  EXPECT_THAT(RowsOf({{"x", Ints({1}, {1})}, {"y", Ints({2}, {1, 2})}}).error().text,
              HasSubstr("equal 0th-dimension size"));
  EXPECT_THAT(RowsAt({{"x", Ints({2}, {1, 2})}}, 3, 0, 1).error().text,
              HasSubstr("does not equal the sum"));
}

class BatchSchedulerTest : public ::testing::Test {
 protected:
  // Doubles, and notes how many rows came together. The first batch waits for Open().
  RunBatch Doubling() {
    return [this](Tensors inputs, TimePoint) -> Result<Tensors> {
      if (first_.exchange(false)) {
        started_.set_value();
        opened_.get_future().wait();
      }
      Tensor& x = inputs.at("x");
      std::vector<int32_t> elements = ElementsOf<int32_t>(x);
      for (int32_t& element : elements) element *= 2;
      MutexLock lock(mutex_);
      rows_.push_back(x.shape()[0]);
      return Tensors{{"x", Ints(x.shape(), elements)}};
    };
  }
  static BatchingParameters Parameters() {
    BatchingParameters parameters;
    parameters.max_batch_size = 4;
    parameters.num_batch_threads = 1;
    return parameters;
  }
  TimePoint Soon() { return clock_.Now() + std::chrono::seconds(60); }
  std::future<Result<Tensors>> Send(BatchQueue& queue, int32_t value) {
    return std::async(std::launch::async, [this, &queue, value] {
      return queue.Run({{"x", Ints({1}, {value})}}, Soon());
    });
  }
  void AwaitWaiting(const BatchScheduler& scheduler, size_t count) {
    while (scheduler.Waiting() < count) std::this_thread::yield();
  }

  SteadyClock clock_;
  std::atomic<bool> first_{true};
  std::promise<void> started_;
  std::promise<void> opened_;
  Mutex mutex_;
  std::vector<int64_t> rows_ NRTD_GUARDED_BY(mutex_);
};

TEST_F(BatchSchedulerTest, RequestsThatWaitRunTogetherAndGetTheirOwnRows) {
  BatchScheduler scheduler(Parameters());
  BatchQueue queue(scheduler, Doubling());
  std::vector<std::future<Result<Tensors>>> answers;
  answers.push_back(Send(queue, 100));
  started_.get_future().wait();
  for (int32_t i = 0; i < 6; ++i) answers.push_back(Send(queue, i));
  AwaitWaiting(scheduler, 6);
  opened_.set_value();
  EXPECT_EQ(Must(answers[0].get()).at("x").bytes(), Ints({1}, {200}).bytes());
  for (int32_t i = 0; i < 6; ++i) {
    EXPECT_EQ(Must(answers[static_cast<size_t>(i) + 1].get()).at("x").bytes(),
              Ints({1}, {2 * i}).bytes());
  }
  MutexLock lock(mutex_);
  EXPECT_EQ(rows_, (std::vector<int64_t>{1, 4, 2}));
}

// The thread that was woken up once took one batch, and nobody looked at the next.
TEST_F(BatchSchedulerTest, AFullBatchRunsWhileAThreadIsIdle) {
  BatchingParameters parameters = Parameters();
  parameters.num_batch_threads = 2;
  parameters.batch_timeout = std::chrono::hours(1);
  BatchScheduler scheduler(parameters);
  std::promise<void> full;
  BatchQueue queue(scheduler, [&](Tensors inputs, TimePoint) -> Result<Tensors> {
    if (inputs.at("x").shape()[0] == 4) {
      full.set_value();
    } else {
      full.get_future().wait();
    }
    return inputs;
  });
  auto small = Send(queue, 1);
  AwaitWaiting(scheduler, 1);
  EXPECT_TRUE(queue.Run({{"x", Ints({4}, {1, 2, 3, 4})}}, Soon()));
  EXPECT_TRUE(small.get());
}

TEST_F(BatchSchedulerTest, AQueueThatIsFullRefuses) {
  BatchingParameters parameters = Parameters();
  parameters.max_enqueued_batches = 1;
  BatchScheduler scheduler(parameters);
  BatchQueue queue(scheduler, Doubling());
  auto first = Send(queue, 1);
  started_.get_future().wait();
  std::vector<std::future<Result<Tensors>>> waiting;
  for (int32_t i = 0; i < 4; ++i) waiting.push_back(Send(queue, i));
  AwaitWaiting(scheduler, 4);
  const auto refused = queue.Run({{"x", Ints({1}, {1})}}, Soon());
  EXPECT_EQ(refused.error().text,
            "The batch scheduling queue to which this task was submitted is full");
  opened_.set_value();
  EXPECT_TRUE(first.get());
  for (auto& answer : waiting) EXPECT_TRUE(answer.get());
}

TEST_F(BatchSchedulerTest, ARequestLargerThanABatchIsRefused) {
  BatchScheduler scheduler(Parameters());
  BatchQueue queue(scheduler, Doubling());
  EXPECT_EQ(queue.Run({{"x", Ints({5}, {1, 2, 3, 4, 5})}}, Soon()).error().text,
            "Task size 5 is larger than maximum batch size 4");
}

TEST_F(BatchSchedulerTest, WhoseTimeIsUpWhileItWaitsDelaysNobody) {
  BatchScheduler scheduler(Parameters());
  BatchQueue queue(scheduler, Doubling());
  auto first = Send(queue, 1);
  started_.get_future().wait();
  auto late = std::async(std::launch::async, [&] {
    return queue.Run({{"x", Ints({1}, {1})}}, clock_.Now());
  });
  auto other = Send(queue, 3);
  AwaitWaiting(scheduler, 2);
  opened_.set_value();
  EXPECT_EQ(late.get().error().text, "Run() timeout exceeded while waiting in batching queue");
  EXPECT_EQ(Must(other.get()).at("x").bytes(), Ints({1}, {6}).bytes());
  EXPECT_TRUE(first.get());
}

TEST_F(BatchSchedulerTest, BatchesAreFilledUpToAnAllowedSize) {
  BatchingParameters parameters = Parameters();
  parameters.allowed_batch_sizes = {2, 4};
  BatchScheduler scheduler(parameters);
  first_ = false;
  BatchQueue queue(scheduler, Doubling());
  const Tensors answer = Must(queue.Run({{"x", Ints({3}, {1, 2, 3})}}, Soon()));
  EXPECT_EQ(answer.at("x").bytes(), Ints({3}, {2, 4, 6}).bytes());
  MutexLock lock(mutex_);
  EXPECT_EQ(rows_, (std::vector<int64_t>{4}));
}

TEST(BatchingParameters, AreReadFromTheOriginalsFile) {
  const ScratchDirectory folder;
  const auto read = [&](const std::string& text) {
    std::ofstream(folder.File("batching")) << text;
    return BatchingParameters::FromFile(folder.File("batching"));
  };
  const auto parameters =
      Must(read("max_batch_size { value: 128 } batch_timeout_micros { value: 500 }\n"
                "max_enqueued_batches { value: 1000000 } num_batch_threads { value: 8 }"));
  EXPECT_EQ(parameters.max_batch_size, 128);
  EXPECT_EQ(parameters.batch_timeout, std::chrono::microseconds(500));
  EXPECT_EQ(parameters.num_batch_threads, 8);
  EXPECT_THAT(read("max_batch_size: 3").error().text, HasSubstr("Invalid protobuf file"));
  EXPECT_THAT(read("max_batch_size { value: 8 } allowed_batch_sizes: 4").error().text,
              HasSubstr("last entry was 4; expected 8"));
  EXPECT_THAT(read("num_batch_threads { value: -1 }").error().text, HasSubstr("was -1"));
}

}  // namespace
}  // namespace nrtd::serving
