// SPDX-License-Identifier: Apache-2.0
//
// Combines concurrent requests into batches (--enable_batching), with the parameters and rules of
// TensorFlow Serving's BatchingParameters.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "serving/graph/executor.h"

namespace nrtd::serving {

struct BatchingParameters {
  int64_t max_batch_size = 1000;
  Duration batch_timeout{0};  // the longest that the first request of a batch waits for others
  int64_t max_enqueued_batches = 10;
  int64_t num_batch_threads = 0;             // 0: one per CPU
  std::vector<int64_t> allowed_batch_sizes;  // a batch is padded to the next one; empty: any
  bool pad_variable_length_inputs = false;

  // Reads the text file of the original. kInvalid with the cause.
  static Result<BatchingParameters> FromFile(const std::string& path);
};

// Runs merged inputs and returns outputs with as many rows.
using RunBatch = std::function<Result<Tensors>(Tensors inputs, TimePoint deadline)>;

class BatchQueue;

// The threads that all queues share. Must outlive its queues. Threadsafe.
class BatchScheduler {
 public:
  explicit BatchScheduler(const BatchingParameters& parameters);
  ~BatchScheduler();

  const BatchingParameters& parameters() const { return parameters_; }
  // The number of waiting requests in all queues.
  size_t Waiting() const;
  // Sets a function that is called with the waiting time of each batch, in microseconds.
  void OnBatch(std::function<void(double)> observe) { observe_ = std::move(observe); }

 private:
  friend class BatchQueue;
  struct Request {
    Tensors inputs;
    int64_t rows = 0;
    TimePoint deadline;
    CondVar done;
    bool is_done = false;
    Result<Tensors> result;
  };
  struct Batch {
    std::vector<std::shared_ptr<Request>> requests;
    int64_t rows = 0;
    TimePoint ready_at;
    TimePoint opened_at;
  };
  struct Queue {
    RunBatch run;
    std::deque<Batch> batches;  // the last one still accepts requests
    int running = 0;
  };
  void Run();
  bool TakeBatch(std::shared_ptr<Queue>* queue, Batch* batch, TimePoint* next)
      NRTD_REQUIRES(mutex_);
  void Process(const RunBatch& run, Batch& batch);

  const BatchingParameters parameters_;
  std::function<void(double)> observe_;
  SteadyClock clock_;
  mutable Mutex mutex_;
  CondVar work_;  // a batch may have become ready
  CondVar idle_;  // a queue may have become idle
  std::deque<std::shared_ptr<Queue>> queues_
      NRTD_GUARDED_BY(mutex_);  // the next one to be served first
  bool stopping_ NRTD_GUARDED_BY(mutex_) = false;
  std::vector<std::jthread> threads_;
};

// The requests of one signature of one servable.
class BatchQueue {
 public:
  BatchQueue(BatchScheduler& scheduler, RunBatch run);
  // Waits for running batches. Requires that no Run() is in flight.
  ~BatchQueue();

  // Runs the inputs in a batch and returns their own outputs. kInvalid if the inputs differ in
  // their number of rows or have more rows than a batch may have; kFail if the queue is full;
  // kResource if `deadline` passed in the queue. An error of the batch is returned to all its
  // requests.
  Result<Tensors> Run(Tensors inputs, TimePoint deadline);

 private:
  BatchScheduler& scheduler_;
  const std::shared_ptr<BatchScheduler::Queue> queue_;
};

}  // namespace nrtd::serving
