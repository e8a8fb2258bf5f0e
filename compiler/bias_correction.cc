// SPDX-License-Identifier: Apache-2.0
#include "compiler/bias_correction.h"

#include <cmath>

#include "compiler/evaluate.h"

namespace nrtd::compiler {
namespace {

// Of a product or convolution; null of others.
template <typename AnyNode>
auto PrecisionOf(AnyNode& node) -> decltype(&std::get<Conv>(node.operation).precision) {
  if (auto* conv = std::get_if<Conv>(&node.operation)) return &conv->precision;
  if (auto* product = std::get_if<MatMul>(&node.operation)) return &product->precision;
  return nullptr;
}

bool IsRounded(const Node& node) {
  const sim::Precision* precision = PrecisionOf(node);
  return precision != nullptr && *precision == sim::Precision::kBFloat16;
}

// Where a bias adds one number: the output's dimension of channels.
std::optional<size_t> ChannelDimension(const Graph& graph, const Node& node) {
  if (!graph.at(node.inputs[1]).IsConstant()) return std::nullopt;
  const size_t rank = graph.at(node.output).shape.size();
  if (const auto* conv = std::get_if<Conv>(&node.operation))
    return conv->channels_last ? rank - 1 : 1;
  const auto& product = std::get<MatMul>(node.operation);
  const bool is_matrix = graph.at(node.inputs[1]).shape.size() >= 2;
  if (!is_matrix || product.view_a || product.view_b || product.view_c) return std::nullopt;
  return rank - 1;
}

// Does the node have no bias, or one that a number a channel can be added to?
bool TakesCorrection(const Graph& graph, const Node& node, size_t channel_dimension) {
  if (node.inputs.size() < 3) return true;
  const int64_t channels = graph.at(node.output).shape[channel_dimension];
  const Value& bias = graph.at(node.inputs[2]);
  return bias.IsConstant() && !bias.shape.empty() && bias.shape.back() == channels &&
         bias.Elements() == static_cast<uint64_t>(channels);
}

// The activation of a product or convolution.
std::optional<sim::Fused>& ActivationOf(Node& node) {
  if (auto* conv = std::get_if<Conv>(&node.operation)) return conv->fused;
  return std::get<MatMul>(node.operation).fused;
}

Node WithoutActivation(Node node) {
  ActivationOf(node).reset();
  return node;
}

// The live values of a run of the network, by sample and id.
using Values = std::vector<std::vector<ByteVector>>;

class Corrector {
 public:
  Corrector(Graph& graph, std::span<const Sample> samples, const Progress& progress)
      : graph_(graph),
        samples_(samples),
        progress_(progress),
        readers_(graph.UseCounts()),
        exact_(samples.size(), std::vector<ByteVector>(graph.values.size())),
        rounded_(exact_) {}

  Result<size_t> Run() {
    NRTD_TRY(TakeInputs());
    std::vector<bool> done(graph_.nodes.size(), false);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (done[i]) continue;
      const std::vector<size_t> together = ResultsWith(i, done);
      NRTD_TRY(Step(together));
      for (size_t n : together) done[n] = true;
      if (progress_) progress_(i + 1, graph_.nodes.size());
    }
    if (corrected_ == 0)
      return Fail(Nerr::kInvalid,
                  "samples correct biases, and there is none to correct: no product or convolution "
                  "in bfloat16 has constant weights and a bias of one number a channel");
    return corrected_;
  }

 private:
  Result<void> TakeInputs() {
    for (ValueId id : graph_.inputs) {
      if (readers_[id] == 0) continue;
      for (size_t s = 0; s < samples_.size(); ++s) {
        NRTD_ASSIGN(exact_[s][id], ElementsOf(samples_[s], graph_.at(id)));
        rounded_[s][id] = exact_[s][id];
      }
    }
    return {};
  }

  // The node, or all results of the call that it is one of.
  std::vector<size_t> ResultsWith(size_t node, const std::vector<bool>& done) const {
    if (!std::holds_alternative<HostCall>(graph_.nodes[node].operation)) return {node};
    std::map<size_t, size_t> results;
    for (size_t n = node; n < graph_.nodes.size(); ++n) {
      if (!done[n] && IsSameCall(graph_.nodes[node], graph_.nodes[n]))
        results.emplace(std::get<HostCall>(graph_.nodes[n].operation).result, n);
    }
    std::vector<size_t> nodes;
    for (const auto& [result, n] : results) nodes.push_back(n);
    return nodes;
  }

  Result<void> Step(const std::vector<size_t>& together) {
    if (IsRounded(graph_.nodes[together[0]])) {
      NRTD_TRY(StepRounded(graph_.nodes[together[0]]));
    } else {
      std::vector<const Node*> results;
      for (size_t n : together) results.push_back(&graph_.nodes[n]);
      NRTD_TRY(Advance(results, {&exact_, &rounded_}));
    }
    for (size_t n : together)
      for (ValueId id : graph_.nodes[n].inputs) Release(id);
    return {};
  }

  Result<void> StepRounded(Node& node) {
    Node exact = node;
    *PrecisionOf(exact) = sim::Precision::kFloat32;
    const auto dimension = ChannelDimension(graph_, node);
    const bool corrects = dimension && TakesCorrection(graph_, node, *dimension);
    if (corrects) {
      const Node plain = WithoutActivation(node);
      const Node plain_exact = WithoutActivation(exact);
      NRTD_TRY(Advance({&plain}, {&rounded_}));
      NRTD_TRY(Advance({&plain_exact}, {&exact_}));
      NRTD_TRY(Correct(node, *dimension));
    }
    // Without an activation `plain_exact` was already all of it.
    if (!corrects || ActivationOf(exact)) {
      NRTD_TRY(Advance({&exact}, {&exact_}));
    }
    return Advance({&node}, {&rounded_});
  }

  // Puts the results of all samples among the values.
  Result<void> Advance(const std::vector<const Node*>& results, std::vector<Values*> runs) {
    NRTD_ASSIGN(const auto evaluator, Evaluator::Make(graph_, results));
    for (Values* values : runs) {
      for (size_t s = 0; s < samples_.size(); ++s) {
        std::vector<ByteVector>& sample = (*values)[s];
        auto outputs = evaluator->Run(InputsOf(*results[0], sample));
        if (!outputs)
          return tl::unexpected<Error>(
              std::move(outputs.error()).In(results[0]->name).In(samples_[s].origin));
        for (size_t r = 0; r < results.size(); ++r)
          sample[results[r]->output] = std::move((*outputs)[r]);
      }
    }
    return {};
  }

  static std::vector<ByteSpan> InputsOf(const Node& node, const std::vector<ByteVector>& sample) {
    std::vector<ByteSpan> inputs;
    for (ValueId id : node.inputs)
      inputs.push_back(id < sample.size() ? ByteSpan(sample[id]) : ByteSpan());
    return inputs;
  }

  // Biases that were added have no readers to count and no values to keep.
  void Release(ValueId id) {
    if (id >= readers_.size() || --readers_[id] > 0) return;
    for (Values* values : {&exact_, &rounded_})
      for (std::vector<ByteVector>& sample : *values) sample[id] = ByteVector();
  }

  // By how much the node's output lacks what it has in float32, by channel, over all positions of
  // all samples; the mean.
  std::vector<double> Lacking(ValueId output, size_t dimension) const {
    const Shape& shape = graph_.at(output).shape;
    const auto channels = static_cast<size_t>(shape[dimension]);
    const auto run = static_cast<size_t>(DenseStrides(shape)[dimension]);
    const size_t elements = graph_.at(output).Elements();
    const double count = static_cast<double>(elements / channels * samples_.size());
    std::vector<double> lacking(channels, 0);
    for (size_t s = 0; s < samples_.size(); ++s) {
      for (size_t e = 0; e < elements; ++e) {
        const auto exact = LoadAt<float>(exact_[s][output], e * sizeof(float));
        const auto rounded = LoadAt<float>(rounded_[s][output], e * sizeof(float));
        lacking[e / run % channels] += (static_cast<double>(exact) - rounded) / count;
      }
    }
    return lacking;
  }

  Result<void> Correct(Node& node, size_t dimension) {
    const std::vector<double> lacking = Lacking(node.output, dimension);
    const bool has_bias = node.inputs.size() == 3;
    Value bias = has_bias ? graph_.at(node.inputs[2]) : Value{};
    bias.name = node.name + " bias";
    if (!has_bias) bias.shape = {static_cast<int64_t>(lacking.size())};
    auto elements = has_bias ? FloatsOf(bias) : std::vector<float>(lacking.size(), 0.0F);
    for (size_t c = 0; c < elements.size(); ++c) {
      if (!std::isfinite(elements[c])) continue;  // -inf for what is never to be chosen
      elements[c] += static_cast<float>(lacking[c]);
      if (!std::isfinite(elements[c]))
        return Fail(Nerr::kInvalid, "{}: the samples lead to numbers that are not finite",
                    node.name);
    }
    bias.data = BytesOf(elements);
    const ValueId added = graph_.Add(std::move(bias));
    if (has_bias) {
      node.inputs[2] = added;
    } else {
      node.inputs.push_back(added);
    }
    ++corrected_;
    return {};
  }

  Graph& graph_;
  const std::span<const Sample> samples_;
  const Progress& progress_;
  std::vector<uint32_t> readers_;  // still to come, by value; also those outside, for outputs
  Values exact_;
  Values rounded_;
  size_t corrected_ = 0;
};

}  // namespace

Result<size_t> CorrectBiases(Graph& graph, std::span<const Sample> samples,
                             const Progress& progress) {
  return Corrector(graph, samples, progress).Run();
}

}  // namespace nrtd::compiler
