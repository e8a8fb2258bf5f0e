// SPDX-License-Identifier: Apache-2.0
#include "serving/batching/batch_scheduler.h"

#include <algorithm>
#include <chrono>
#include <new>

#include "base/usable_cpus.h"
#include "proto/tensorflow_serving/config.pb.h"
#include "serving/batching/merge.h"
#include "serving/config/text_file.h"

namespace nrtd::serving {
namespace {

constexpr int64_t kMostThreads = 1024;

int64_t NextAllowed(const std::vector<int64_t>& allowed, int64_t rows) {
  for (const int64_t size : allowed)
    if (size >= rows) return size;
  return rows;
}

Result<void> CheckParameters(const BatchingParameters& parameters) {
  const auto& allowed = parameters.allowed_batch_sizes;
  if (!allowed.empty() && allowed.back() != parameters.max_batch_size) {
    return Fail(Nerr::kInvalid,
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was {}; "
                "expected {}",
                allowed.back(), parameters.max_batch_size);
  }
  if (!std::is_sorted(allowed.begin(), allowed.end()))
    return Fail(Nerr::kInvalid, "allowed_batch_sizes must increase");
  if (parameters.num_batch_threads <= 0)
    return Fail(Nerr::kInvalid, "num_batch_threads must be positive; was {}",
                parameters.num_batch_threads);
  if (parameters.num_batch_threads > kMostThreads)
    return Fail(Nerr::kInvalid, "num_batch_threads is {}, of at most {}",
                parameters.num_batch_threads, kMostThreads);
  if (parameters.max_batch_size <= 0)
    return Fail(Nerr::kInvalid, "max_batch_size must be positive; was {}",
                parameters.max_batch_size);
  if (parameters.max_enqueued_batches < 0)
    return Fail(Nerr::kInvalid, "max_enqueued_batches must be non-negative; was {}",
                parameters.max_enqueued_batches);
  return {};
}

}  // namespace

Result<BatchingParameters> BatchingParameters::FromFile(const std::string& path) {
  tensorflow::serving::BatchingParameters file;
  NRTD_TRY(ReadTextMessage(path, &file));
  BatchingParameters parameters;
  parameters.num_batch_threads = static_cast<int64_t>(UsableCpus());
  constexpr int64_t kMostMicros = 3'600'000'000;
  const int64_t micros = file.batch_timeout_micros().value();
  if (micros < 0 || micros > kMostMicros) {
    return Fail(Nerr::kInvalid, "batch_timeout_micros is {}: use a number from 0 to {}", micros,
                kMostMicros);
  }
  if (file.has_max_batch_size()) parameters.max_batch_size = file.max_batch_size().value();
  parameters.batch_timeout = std::chrono::microseconds(micros);
  if (file.has_max_enqueued_batches())
    parameters.max_enqueued_batches = file.max_enqueued_batches().value();
  if (file.has_num_batch_threads()) parameters.num_batch_threads = file.num_batch_threads().value();
  parameters.allowed_batch_sizes.assign(file.allowed_batch_sizes().begin(),
                                        file.allowed_batch_sizes().end());
  parameters.pad_variable_length_inputs = file.pad_variable_length_inputs();
  NRTD_TRY(CheckParameters(parameters));
  return parameters;
}

BatchScheduler::BatchScheduler(const BatchingParameters& parameters) : parameters_(parameters) {
  const int64_t threads = parameters.num_batch_threads > 0 ? parameters.num_batch_threads
                                                           : static_cast<int64_t>(UsableCpus());
  for (int64_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

BatchScheduler::~BatchScheduler() {
  MutexLock lock(mutex_);
  stopping_ = true;
  work_.NotifyAll();
}

size_t BatchScheduler::Waiting() const {
  MutexLock lock(mutex_);
  size_t waiting = 0;
  for (const auto& queue : queues_)
    for (const Batch& batch : queue->batches) waiting += batch.requests.size();
  return waiting;
}

// The first batch that is full or has waited long enough, queues in turn.
bool BatchScheduler::TakeBatch(std::shared_ptr<Queue>* queue, Batch* batch, TimePoint* next) {
  const TimePoint now = clock_.Now();
  *next = TimePoint::max();
  for (size_t i = 0; i < queues_.size(); ++i) {
    queues_.push_back(std::move(queues_.front()));
    queues_.pop_front();
    Queue& candidate = *queues_.back();
    if (candidate.batches.empty()) continue;
    Batch& first = candidate.batches.front();
    const bool is_full = candidate.batches.size() > 1 || first.rows >= parameters_.max_batch_size;
    if (!is_full && first.ready_at > now) {
      *next = std::min(*next, first.ready_at);
      continue;
    }
    *queue = queues_.back();
    *batch = std::move(first);
    candidate.batches.pop_front();
    ++candidate.running;
    return true;
  }
  return false;
}

void BatchScheduler::Run() {
  while (true) {
    std::shared_ptr<Queue> queue;
    Batch batch;
    {
      MutexLock lock(mutex_);
      TimePoint next;
      while (!stopping_ && !TakeBatch(&queue, &batch, &next)) clock_.WaitUntil(work_, mutex_, next);
      if (stopping_) return;
      work_.NotifyOne();  // there may be another batch, and a time to wait for
    }
    if (observe_) {
      observe_(std::chrono::duration<double, std::micro>(clock_.Now() - batch.opened_at).count());
    }
    Process(queue->run, batch);
    MutexLock lock(mutex_);
    --queue->running;
    for (const auto& request : batch.requests) {
      request->is_done = true;
      request->done.NotifyOne();
    }
    idle_.NotifyAll();
  }
}

// Requests whose time is up do not delay the others.
void BatchScheduler::Process(const RunBatch& run, Batch& batch) {
  const TimePoint now = clock_.Now();
  std::vector<Request*> requests;
  std::vector<const Tensors*> inputs;
  int64_t rows = 0;
  TimePoint deadline = TimePoint::min();
  for (const auto& request : batch.requests) {
    if (request->deadline <= now) {
      request->result =
          Fail(Nerr::kResource, "Run() timeout exceeded while waiting in batching queue");
      continue;
    }
    requests.push_back(request.get());
    inputs.push_back(&request->inputs);
    rows += request->rows;
    deadline = std::max(deadline, request->deadline);
  }
  if (requests.empty()) return;
  const int64_t filled = NextAllowed(parameters_.allowed_batch_sizes, rows);
  const auto run_merged = [&]() -> Result<Tensors> {
    NRTD_ASSIGN(Tensors merged, Merge(inputs, filled, parameters_.pad_variable_length_inputs));
    return run(std::move(merged), deadline);
  };
  const auto outputs = [&]() -> Result<Tensors> {
    try {
      return run_merged();
    } catch (const std::bad_alloc&) {
      return Fail(Nerr::kResource, "not enough memory for a batch of {} rows", rows);
    }
  }();
  int64_t first = 0;
  for (Request* request : requests) {
    request->result =
        outputs ? RowsAt(*outputs, filled, first, request->rows) : Result<Tensors>(outputs);
    first += request->rows;
  }
}

BatchQueue::BatchQueue(BatchScheduler& scheduler, RunBatch run)
    : scheduler_(scheduler), queue_(std::make_shared<BatchScheduler::Queue>()) {
  queue_->run = std::move(run);
  MutexLock lock(scheduler_.mutex_);
  scheduler_.queues_.push_back(queue_);
}

BatchQueue::~BatchQueue() {
  MutexLock lock(scheduler_.mutex_);
  while (queue_->running > 0) scheduler_.idle_.Wait(scheduler_.mutex_);
  std::erase(scheduler_.queues_, queue_);
}

Result<Tensors> BatchQueue::Run(Tensors inputs, TimePoint deadline) {
  NRTD_ASSIGN(const int64_t rows, RowsOf(inputs));
  const BatchingParameters& limits = scheduler_.parameters_;
  if (rows > limits.max_batch_size) {
    return Fail(Nerr::kInvalid, "Task size {} is larger than maximum batch size {}", rows,
                limits.max_batch_size);
  }
  const auto request = std::make_shared<BatchScheduler::Request>();
  request->inputs = std::move(inputs);
  request->rows = rows;
  request->deadline = deadline;
  MutexLock lock(scheduler_.mutex_);
  auto& batches = queue_->batches;
  if (batches.empty() || batches.back().rows + rows > limits.max_batch_size) {
    if (batches.size() >= static_cast<size_t>(std::max<int64_t>(limits.max_enqueued_batches, 1))) {
      return Fail(Nerr::kFail,
                  "The batch scheduling queue to which this task was submitted is full");
    }
    const TimePoint now = scheduler_.clock_.Now();
    batches.push_back({{}, 0, now + limits.batch_timeout, now});
  }
  batches.back().requests.push_back(request);
  batches.back().rows += rows;
  scheduler_.work_.NotifyOne();
  // The batch has the deadline too, and ends with it.
  while (!request->is_done) request->done.Wait(scheduler_.mutex_);
  return std::move(request->result);
}

}  // namespace nrtd::serving
