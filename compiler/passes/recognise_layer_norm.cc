// SPDX-License-Identifier: Apache-2.0
#include "compiler/passes/links.h"
#include "compiler/passes/passes.h"

namespace nrtd::compiler {
namespace {

// A factor or addend of a layer normalisation: one number for each element of the last dimension.
bool IsRow(const Value& value, const Shape& shape) {
  return value.IsConstant() && value.dtype == DType::kFloat32 && !shape.empty() &&
         !value.shape.empty() && value.shape.back() == shape.back() &&
         value.Elements() == static_cast<uint64_t>(shape.back());
}

// As exporters write it: d = x - mean(x); y = d / sqrt(mean(d d) + epsilon), then times a row, plus
// a row.
class LayerNormFinder {
 public:
  explicit LayerNormFinder(Graph& graph) : links_(graph) {}

  void Run() {
    Graph& graph = links_.graph();
    // From the back, so that the whole is found before its parts.
    for (size_t i = graph.nodes.size(); i-- > 0;) {
      const ValueId output = graph.nodes[i].output;
      const auto found = MatchShifted(output);
      if (!found) continue;
      graph.nodes[i].operation = LayerNorm{found->epsilon};
      graph.nodes[i].inputs = found->inputs;
    }
  }

 private:
  struct Found {
    float epsilon;
    std::vector<ValueId> inputs;  // x, then scale, then bias
  };

  // mean(x) over the last dimension, which stays as 1.
  std::optional<ValueId> MeanOf(ValueId id) {
    const auto [node, reduce] = links_.Made<Reduce>(id);
    if (node == nullptr || reduce->kind != sim::Reduction::kMean) return std::nullopt;
    Shape kept = links_.at(node->inputs[0]).shape;
    if (kept.empty()) return std::nullopt;
    kept.back() = 1;
    if (reduce->kept != kept || links_.at(id).shape != kept) return std::nullopt;
    return node->inputs[0];
  }

  std::optional<ValueId> CenteredOf(ValueId id) {
    const auto difference = links_.PairOf(id, sim::BinaryFunction::kSubtract);
    if (!difference || MeanOf(difference->second) != difference->first) return std::nullopt;
    return difference->first;
  }

  // sqrt(mean(d d) + epsilon) as d and epsilon.
  std::optional<std::pair<ValueId, float>> DeviationOf(ValueId id) {
    const auto variance = links_.ArgumentOf(id, sim::Function::kSqrt);
    if (!variance) return std::nullopt;
    const auto line = links_.LineOf(*variance);
    if (!line || line->alpha != 1) return std::nullopt;
    const auto square = MeanOf(line->x);
    if (!square) return std::nullopt;
    const auto factors = links_.PairOf(*square, sim::BinaryFunction::kMultiply);
    if (!factors || factors->first != factors->second) return std::nullopt;
    return std::pair(factors->first, line->beta);
  }

  std::optional<Found> MatchPlain(ValueId id) {
    ValueId numerator = 0;
    std::optional<std::pair<ValueId, float>> deviation;
    if (const auto quotient = links_.PairOf(id, sim::BinaryFunction::kDivide)) {
      numerator = quotient->first;
      deviation = DeviationOf(quotient->second);
    } else if (const auto product = links_.PairOf(id, sim::BinaryFunction::kMultiply)) {
      numerator = product->first;
      if (const auto root = links_.ArgumentOf(product->second, sim::Function::kReciprocal))
        deviation = DeviationOf(*root);
    }
    if (!deviation) return std::nullopt;
    // Some exporters compute the difference twice.
    const auto x = CenteredOf(numerator);
    if (!x || (deviation->first != numerator && CenteredOf(deviation->first) != x))
      return std::nullopt;
    return Found{deviation->second, {*x}};
  }

  std::optional<Found> MatchScaled(ValueId id) {
    if (auto plain = MatchPlain(id)) return plain;
    const auto factors = links_.PairOf(id, sim::BinaryFunction::kMultiply);
    if (!factors) return std::nullopt;
    for (const auto& [norm, row] : {*factors, std::pair(factors->second, factors->first)}) {
      if (!IsRow(links_.at(row), links_.at(id).shape)) continue;
      if (auto plain = MatchPlain(norm)) {
        plain->inputs.push_back(row);
        return plain;
      }
    }
    return std::nullopt;
  }

  std::optional<Found> MatchShifted(ValueId id) {
    if (auto scaled = MatchScaled(id)) return scaled;
    const auto terms = links_.PairOf(id, sim::BinaryFunction::kAdd);
    if (!terms) return std::nullopt;
    for (const auto& [norm, row] : {*terms, std::pair(terms->second, terms->first)}) {
      if (!IsRow(links_.at(row), links_.at(id).shape)) continue;
      auto scaled = MatchScaled(norm);
      if (scaled && scaled->inputs.size() == 2) {
        scaled->inputs.push_back(row);
        return scaled;
      }
    }
    return std::nullopt;
  }

  Links links_;
};

}  // namespace

void RecogniseLayerNorm(Graph& graph) {
  LayerNormFinder(graph).Run();
  RemoveDeadCode(graph);
}

}  // namespace nrtd::compiler
