// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "compiler/passes/links.h"
#include "compiler/passes/passes.h"

namespace nrtd::compiler {
namespace {

bool Near(float a, float b) {
  return std::fabs(a - b) <= 1e-4F * std::fabs(b);
}

// x/2 (1 + erf(x / sqrt 2)) in whatever order the factors are multiplied.
class GeluFinder {
 public:
  explicit GeluFinder(Graph& graph) : links_(graph) {}

  void Run() {
    Graph& graph = links_.graph();
    for (Node& node : graph.nodes) {
      const auto x = Match(node.output);
      if (!x) continue;
      node.operation = Activation{sim::Function::kGeluErf, 0, 0};
      node.inputs = {*x};
    }
  }

 private:
  // A product as the numbers and the values that are multiplied.
  void Factors(ValueId id, int depth, float& number, std::vector<ValueId>& values) {
    if (depth > 0) {
      if (const auto line = links_.LineOf(id); line && line->beta == 0) {
        number *= line->alpha;
        Factors(line->x, depth - 1, number, values);
        return;
      }
      if (const auto pair = links_.PairOf(id, sim::BinaryFunction::kMultiply)) {
        Factors(pair->first, depth - 1, number, values);
        Factors(pair->second, depth - 1, number, values);
        return;
      }
    }
    values.push_back(id);
  }

  std::optional<ValueId> Match(ValueId output) {
    float number = 1;
    std::vector<ValueId> values;
    constexpr int kDepth = 3;
    Factors(output, kDepth, number, values);
    if (values.size() != 2) return std::nullopt;
    for (size_t i = 0; i < 2; ++i) {
      // factor (erf + 1), whichever way the factor is spread.
      const auto line = links_.LineOf(values[i]);
      if (!line || line->alpha == 0 || !Near(line->beta, line->alpha)) continue;
      if (!Near(number * line->alpha, 0.5F)) continue;
      const auto erf = links_.ArgumentOf(line->x, sim::Function::kErf);
      if (!erf) continue;
      const auto scaled = links_.LineOf(*erf);
      const ValueId x = values[1 - i];
      if (scaled && scaled->x == x && scaled->beta == 0 && Near(scaled->alpha, std::sqrt(0.5F)))
        return x;
    }
    return std::nullopt;
  }

  Links links_;
};

}  // namespace

void RecogniseGelu(Graph& graph) {
  GeluFinder(graph).Run();
  RemoveDeadCode(graph);
}

}  // namespace nrtd::compiler
