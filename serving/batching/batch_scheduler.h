// SPDX-License-Identifier: Apache-2.0
//
// Requests that wait together and run as one: --enable_batching, with the parameters and the rules
// of TensorFlow Serving's BatchingParameters.
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
  Duration batch_timeout{0};  // how long the first request of a batch waits for others
  int64_t max_enqueued_batches = 10;
  int64_t num_batch_threads = 0;             // 0: as many as CPUs
  std::vector<int64_t> allowed_batch_sizes;  // a batch is filled up to the next; empty: any
  bool pad_variable_length_inputs = false;

  // Reads the original's text file. kInvalid with what is wrong.
  static Result<BatchingParameters> FromFile(const std::string& path);
};

// Runs inputs that were put together, and gives outputs with as many rows.
using RunBatch = std::function<Result<Tensors>(Tensors inputs, TimePoint deadline)>;

class BatchQueue;

// The threads that all queues share. Threadsafe. It outlives its queues.
class BatchScheduler {
 public:
  explicit BatchScheduler(const BatchingParameters& parameters);
  ~BatchScheduler();

  const BatchingParameters& parameters() const { return parameters_; }
  // Requests that wait in any queue.
  size_t Waiting() const;
  // Calls `observe` with the microseconds that each batch waited.
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
    std::deque<Batch> batches;  // the last one is open
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
  CondVar work_;  // there may be a batch to run
  CondVar idle_;  // a queue may have no batch under way
  std::deque<std::shared_ptr<Queue>> queues_ NRTD_GUARDED_BY(mutex_);  // whose turn it is, in front
  bool stopping_ NRTD_GUARDED_BY(mutex_) = false;
  std::vector<std::jthread> threads_;
};

// The requests of one signature of one servable.
class BatchQueue {
 public:
  BatchQueue(BatchScheduler& scheduler, RunBatch run);
  // Waits for batches that run. No Run() is under way.
  ~BatchQueue();

  // Waits its turn with others and answers as if it had been alone. kInvalid: inputs whose rows
  // differ, or more rows than a batch may have; kFail: the queue is full; kResource: `deadline`
  // passed while it waited; errors of the batch are those of all that are in it.
  Result<Tensors> Run(Tensors inputs, TimePoint deadline);

 private:
  BatchScheduler& scheduler_;
  const std::shared_ptr<BatchScheduler::Queue> queue_;
};

}  // namespace nrtd::serving
