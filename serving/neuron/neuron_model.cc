// SPDX-License-Identifier: Apache-2.0
#include "serving/neuron/neuron_model.h"

#include <algorithm>
#include <exception>

#include "base/before_long.h"
#include "base/log.h"
#include "rpc/call_queue.h"
#include "serving/neuron/batches.h"

namespace nrtd::serving {
namespace {

uint32_t CoresOf(const op::Neuron& op) {
  // The second number is what one copy takes; older ones have none.
  const int64_t cores = op.model_config.size() > 1 ? op.model_config[1] : 1;
  return cores >= 1 && cores <= 64 ? static_cast<uint32_t>(cores) : 1;
}

// As the TensorFlow plugin: one more than the pipeline's cores keep busy.
uint32_t NinferOf(const op::Neuron& op, const NeuronOptions& options) {
  if (options.ninfer) return *options.ninfer;
  return CoresOf(op) + 1;
}

uint32_t TimeoutOf(const op::Neuron& op, const NeuronOptions& options) {
  const bool has_own =
      op.model_config.size() >= 4 && op.model_config[3] > 0 && op.model_config[3] <= 86'400;
  return has_own ? static_cast<uint32_t>(op.model_config[3]) : options.infer_timeout_s;
}

}  // namespace

Result<void> NeuronModel::Change(uint32_t running, uint32_t wanted) {
  // `running` may have been unloaded since, so its error is ignored.
  if (running != 0) (void)runtime_->daemon().Stop(running);
  return runtime_->daemon().Start(wanted);
}

Result<void> NeuronModel::LoadExecutable(const op::Neuron& op, const op::Executable& executable,
                                         const std::shared_ptr<const CorePlace>& place) {
  const NeuronOptions& settings = runtime_->options();
  client::LoadOptions options;
  options.neff_bytes = *executable.neff;
  options.session_id = runtime_->session_id();
  options.ninfer = NinferOf(op, settings);
  options.timeout_s = TimeoutOf(op, settings);
  Variants& variants = ops_[op.number];
  const auto [loaded, _] =
      variants.by_batch.try_emplace(executable.batch, *runtime_, op, executable.batch);
  Copies& copies = loaded->second.copies;
  copies.SetPlace(place);
  for (const std::shared_ptr<CoreGroup>& group : place->copies) {
    options.group_id = group->id();
    NRTD_ASSIGN(const uint32_t network, runtime_->daemon().Load(options));
    const Copies::Copy copy{network, *options.ninfer, group};
    copies.Add(copy);
    NRTD_TRY(Enter(copy, TimePoint::max()));
    group->Leave();
  }
  variants.batches.push_back(executable.batch);
  std::sort(variants.batches.begin(), variants.batches.end());
  return {};
}

Result<void> NeuronModel::LoadOp(const op::Neuron& op) {
  Variants& variants = ops_.emplace_back();
  for (const op::Executable& executable : op.executables) {
    const bool first = &executable == &op.executables.front();
    auto place = runtime_->groups().Take(CoresOf(op), /*may_share=*/first);
    Result<void> loaded;
    if (place) {
      loaded = LoadExecutable(op, executable, *place);
    } else {
      loaded = tl::unexpected<Error>(std::move(place.error()));
    }
    if (loaded) continue;
    if (first || loaded.error().code != Nerr::kResource) return loaded;
    Log(LogLevel::kWarning, "ModelServer", "no room for a batch of {}, which is left out: {}",
        executable.batch, AsIs(loaded.error().text));
    if (const auto begun = variants.by_batch.find(executable.batch);
        begun != variants.by_batch.end()) {
      Unload(begun->second.copies);
      variants.by_batch.erase(begun);
    }
  }
  return {};
}

Result<std::unique_ptr<NeuronModel>> NeuronModel::Load(const Graph& graph,
                                                       std::shared_ptr<NeuronRuntime> runtime) {
  std::unique_ptr<NeuronModel> model(new NeuronModel(std::move(runtime)));
  for (const uint32_t index : graph.neuron_ops) {
    const Node& node = graph.nodes[index];
    NRTD_TRY(model->LoadOp(std::get<op::Neuron>(node.operation)).map_error([&](Error error) {
      return std::move(error).In(fmt::format("node '{}'", Printable(node.name)));
    }));
  }
  return model;
}

void NeuronModel::Unload(const Copies& copies) {
  for (const uint32_t network : copies.networks()) {
    if (auto unloaded = runtime_->daemon().Unload(network); !unloaded)
      Log(LogLevel::kWarning, "ModelServer", "{}", AsIs(unloaded.error().text));
  }
}

NeuronModel::~NeuronModel() {
  rpc::CallQueue::HandOver();  // unloading waits for the daemon
  if (runtime_->is_lost()) return;
  for (const Variants& variants : ops_)
    for (const auto& [batch, executable] : variants.by_batch) Unload(executable.copies);
}

Result<std::vector<Tensor>> NeuronModel::Run(const op::Neuron& op, std::vector<Tensor> inputs,
                                             TimePoint deadline) {
  Variants& variants = ops_[op.number];
  return RunInBatches(
      op, variants.batches, std::move(inputs), [&](int64_t batch, std::vector<Tensor> piece) {
        return RunOnOne(op, variants.by_batch.at(batch), std::move(piece), deadline);
      });
}

Result<std::vector<Tensor>> NeuronModel::RunOnOne(const op::Neuron& op, Loaded& loaded,
                                                  std::vector<Tensor> inputs, TimePoint deadline) {
  NRTD_ASSIGN(const Copies::Copy copy, loaded.copies.Take(deadline));
  auto entered = Enter(copy, deadline);
  auto outputs = entered.and_then(
      [&] { return Infer(op, copy.network, loaded, std::move(inputs), deadline); });
  if (entered) copy.group->Leave();
  loaded.copies.GiveBack(copy);
  return outputs;
}

Result<std::vector<Tensor>> NeuronModel::Infer(const op::Neuron& op, uint32_t network,
                                               Loaded& loaded, std::vector<Tensor> inputs,
                                               TimePoint deadline) {
  auto set = loaded.sets.Take();
  const TimePoint began = clock_.Now();
  const nrt::infer_request request = RequestOf(op, network, std::move(inputs), set.get());
  nrt::infer_response response;
  if (auto ended = runtime_->daemon().InferWithin(deadline - began, request, response); !ended) {
    loaded.sets.Drop(std::move(set));
    return tl::unexpected<Error>(std::move(ended.error()));
  }
  auto outputs = OutputsOf(op, loaded.batch, response, set.get());
  CountInference(began);
  loaded.sets.GiveBack(std::move(set));
  return outputs;
}

// An asynchronous inference. Owns itself.
class NeuronModel::Started final : private rpc::Task {
 public:
  Started(NeuronModel& model, const op::Neuron& op, Loaded& loaded, std::vector<Tensor> inputs,
          TimePoint deadline, NeuronDone done)
      : model_(model),
        op_(op),
        loaded_(loaded),
        inputs_(std::move(inputs)),
        deadline_(deadline),
        done_(std::move(done)) {}

  void Start() {
    loaded_.copies.StartTake(deadline_, [this](Result<Copies::Copy> copy) {
      if (copy) {
        copy_ = std::move(*copy);
        Enter();
      } else {
        End(tl::unexpected<Error>(std::move(copy.error())));
      }
    });
  }

 private:
  // If the group has to change to this network, waits for that on another thread.
  void Enter() {
    if (copy_->group->TryEnter(copy_->network)) {
      entered_ = true;
      Infer();
    } else {
      model_.runtime_->options().queue->Post(*this);
    }
  }
  void Run() override {
    auto entered = rpc::CallQueue::TryHandOver()
                       ? model_.Enter(*copy_, deadline_)
                       : Fail(Nerr::kResource, "every thread waits for a core");
    if (entered) {
      entered_ = true;
      Infer();
    } else {
      End(tl::unexpected<Error>(std::move(entered.error())));
    }
  }

  void Infer() {
    try {
      StartInfer();
    } catch (const std::exception& problem) {  // no memory, say
      End(Fail(Nerr::kResource, "{}", problem.what()));
    }
  }
  void StartInfer() {
    set_ = loaded_.sets.Take();
    if (set_ != nullptr) BeforeLong();  // copies large tensors
    began_ = model_.clock_.Now();
    const nrt::infer_request request =
        RequestOf(op_, copy_->network, std::move(inputs_), set_.get());
    model_.runtime_->daemon().StartInfer(
        deadline_ - began_, request,
        [this](const Result<void>& ended, nrt::infer_response& response) {
          if (ended) {
            End(TakeOutputs(response));
          } else {
            End(tl::unexpected<Error>(ended.error()));
          }
        });
  }
  Result<std::vector<Tensor>> TakeOutputs(nrt::infer_response& response) {
    try {
      if (set_ != nullptr) BeforeLong();
      auto outputs = OutputsOf(op_, loaded_.batch, response, set_.get());
      model_.CountInference(began_);
      loaded_.sets.GiveBack(std::move(set_));
      return outputs;
    } catch (const std::exception& problem) {  // no memory, say
      return Fail(Nerr::kResource, "{}", problem.what());
    }
  }

  // `done` keeps the model alive until it is destroyed at the end of this function.
  void End(Result<std::vector<Tensor>> outputs) {
    const NeuronDone done = std::move(done_);
    if (entered_) copy_->group->Leave();
    done(std::move(outputs));
    if (copy_) loaded_.copies.GiveBack(*copy_);
    loaded_.sets.Drop(std::move(set_));
    delete this;
  }

  NeuronModel& model_;
  const op::Neuron& op_;
  Loaded& loaded_;
  std::vector<Tensor> inputs_;
  const TimePoint deadline_;
  NeuronDone done_;
  std::optional<Copies::Copy> copy_;
  bool entered_ = false;  // it must leave the copy's group
  std::unique_ptr<TensorSet> set_;
  TimePoint began_;
};

void NeuronModel::Start(const op::Neuron& op, std::vector<Tensor> inputs, TimePoint deadline,
                        NeuronDone done) {
  Variants& variants = ops_[op.number];
  if (const auto batch = FilledSize(op, variants.batches, inputs)) {
    (new Started(*this, op, variants.by_batch.at(*batch), std::move(inputs), deadline,
                 std::move(done)))
        ->Start();
  } else if (rpc::CallQueue::TryHandOver()) {
    done(Run(op, std::move(inputs), deadline));
  } else {
    done(Fail(Nerr::kResource, "every thread waits for a core"));
  }
}

Result<void> NeuronModel::Enter(const Copies::Copy& copy, TimePoint deadline) {
  return copy.group->Enter(copy.network, deadline,
                           [&](uint32_t running) { return Change(running, copy.network); });
}

void NeuronModel::CountInference(TimePoint began) {
  if (const auto& tell = runtime_->options().on_inference) tell(clock_.Now() - began);
}

}  // namespace nrtd::serving
