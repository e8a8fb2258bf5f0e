// SPDX-License-Identifier: Apache-2.0
#include "compiler/partition.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>

namespace nrtd::compiler {
namespace {

constexpr uint64_t kElementCost = 16;

bool IsCall(const Node& node) {
  return std::holds_alternative<HostCall>(node.operation);
}

class Partitioner {
 public:
  Partitioner(Graph& graph, uint32_t cores) : graph_(graph), cores_(cores) {}

  Result<std::vector<Stage>> Run() {
    NameValues();
    AssignLevels();
    NRTD_TRY(ShareCores());
    for (size_t level = 0; level < on_cores_.size(); ++level) {
      AddCoreStage(level, level == 0 ? PassedOn() : std::vector<ValueId>{});
      AddCalls(level);
    }
    return std::move(stages_);
  }

 private:
  // Values that nobody named, or that have another's name, could not be told apart in the file.
  void NameValues() {
    std::set<std::string> taken;
    for (ValueId id : graph_.inputs) taken.insert(graph_.at(id).name);
    for (ValueId id : graph_.outputs) taken.insert(graph_.at(id).name);
    std::set<ValueId> ports(graph_.inputs.begin(), graph_.inputs.end());
    ports.insert(graph_.outputs.begin(), graph_.outputs.end());
    for (ValueId id = 0; id < graph_.values.size(); ++id) {
      if (ports.contains(id)) continue;
      std::string& name = graph_.values[id].name;
      if (name.empty() || taken.contains(name)) name = fmt::format("{}#{}", name, id);
      taken.insert(name);
    }
  }

  // Nodes of one level run before the calls of that level, those before the next level's nodes.
  void AssignLevels() {
    std::vector<size_t> ready(graph_.values.size(), 0);  // the first level that can read it
    levels_.resize(graph_.nodes.size());
    size_t count = 1;
    std::vector<size_t> made(graph_.values.size(), 0);  // at the end of which level a call can
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      const Node& node = graph_.nodes[n];
      const bool call = IsCall(node);
      size_t level = 0;
      for (ValueId input : node.inputs) level = std::max(level, call ? made[input] : ready[input]);
      levels_[n] = level;
      made[node.output] = level;
      ready[node.output] = call ? level + 1 : level;
      count = std::max(count, level + 1);
    }
    on_cores_.resize(count);
    calls_.resize(count);
    for (size_t n = 0; n < graph_.nodes.size(); ++n)
      (IsCall(graph_.nodes[n]) ? calls_ : on_cores_)[levels_[n]].push_back(n);
  }

  // What cores hand out besides what they make: constants and inputs that are outputs of the
  // network, constants that a call reads.
  std::vector<ValueId> PassedOn() const {
    std::set<ValueId> passed;
    const std::vector<size_t> producers = graph_.Producers();
    for (ValueId output : graph_.outputs)
      if (producers[output] == Graph::kNoNode) passed.insert(output);
    for (const Node& node : graph_.nodes) {
      if (!IsCall(node)) continue;
      for (ValueId input : node.inputs)
        if (graph_.at(input).IsConstant()) passed.insert(input);
    }
    return {passed.begin(), passed.end()};
  }

  Result<void> ShareCores() {
    if (cores_ == 0) return Fail(Nerr::kInvalid, "a pipeline of 0 NeuronCores runs nothing");
    size_t nodes = 0;
    std::vector<uint64_t> costs;
    for (const auto& level : on_cores_) {
      uint64_t cost = 0;
      for (size_t n : level) cost += CostOf(graph_, graph_.nodes[n]);
      costs.push_back(cost);
      nodes += level.size();
    }
    if (cores_ > 1 && cores_ > nodes) {
      return Fail(Nerr::kInvalid,
                  "a pipeline of {} NeuronCores has nothing for some of them to do: the network "
                  "has {} nodes; use --neuroncore-pipeline-cores {}",
                  cores_, nodes, std::max<size_t>(nodes, 1));
    }
    // Each stage has one, and each core that is left goes where a piece is dearest.
    pieces_.assign(on_cores_.size(), 1);
    size_t shared = on_cores_[0].empty() && !PassedOn().empty() ? 1 : 0;
    for (const auto& level : on_cores_) shared += level.empty() ? 0 : 1;
    for (; shared < cores_; ++shared) {
      std::optional<size_t> dearest;
      const auto piece = [&](size_t level) { return costs[level] / pieces_[level]; };
      for (size_t level = 0; level < on_cores_.size(); ++level) {
        if (pieces_[level] >= on_cores_[level].size()) continue;
        if (!dearest || piece(level) > piece(*dearest)) dearest = level;
      }
      if (!dearest) break;
      ++pieces_[*dearest];
    }
    return {};
  }

  // Where to cut nodes[0, n) into `pieces`, so that the dearest piece, with the bytes that it hands
  // over, is as cheap as can be: the ends of the pieces.
  std::vector<size_t> Cut(const std::vector<size_t>& nodes, size_t pieces) const {
    const size_t n = nodes.size();
    if (pieces <= 1) return {n};
    std::vector<uint64_t> sum(n + 1, 0);
    for (size_t i = 0; i < n; ++i) sum[i + 1] = sum[i] + CostOf(graph_, graph_.nodes[nodes[i]]);
    const std::vector<uint64_t> crossing = Crossing(nodes);
    const auto cost = [&](size_t from, size_t to) {
      return sum[to] - sum[from] + crossing[from] + crossing[to];
    };
    constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();
    std::vector<std::vector<uint64_t>> best(pieces + 1, std::vector<uint64_t>(n + 1, kNever));
    std::vector<std::vector<size_t>> from(pieces + 1, std::vector<size_t>(n + 1, 0));
    best[0][0] = 0;
    for (size_t p = 1; p <= pieces; ++p) {
      for (size_t to = p; to <= n; ++to) {
        for (size_t f = to; f-- > p - 1;) {
          if (sum[to] - sum[f] > best[p][to]) break;  // only dearer from here
          const uint64_t dearest = std::max(best[p - 1][f], cost(f, to));
          if (dearest < best[p][to]) {
            best[p][to] = dearest;
            from[p][to] = f;
          }
        }
      }
    }
    std::vector<size_t> ends;
    size_t to = n;
    for (size_t p = pieces; p > 0; --p) {
      ends.insert(ends.begin(), to);
      to = from[p][to];
    }
    return ends;
  }

  // What it costs to hand over, at each place, the values made before and read behind.
  std::vector<uint64_t> Crossing(const std::vector<size_t>& nodes) const {
    std::map<ValueId, std::pair<size_t, size_t>> lives;  // made at, last read at
    for (size_t i = 0; i < nodes.size(); ++i) {
      const Node& node = graph_.nodes[nodes[i]];
      for (ValueId input : node.inputs)
        if (auto life = lives.find(input); life != lives.end()) life->second.second = i;
      lives[node.output] = {i, i};
    }
    std::vector<uint64_t> crossing(nodes.size() + 1, 0);
    for (const auto& [value, life] : lives) {
      for (size_t i = life.first + 1; i <= life.second; ++i)
        crossing[i] += graph_.at(value).Elements() * kElementCost;
    }
    return crossing;
  }

  // Values that nodes outside of `inside` read, or that leave the network.
  std::set<ValueId> ReadOutside(const std::set<size_t>& inside) const {
    std::set<ValueId> read(graph_.outputs.begin(), graph_.outputs.end());
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      if (inside.contains(n)) continue;
      read.insert(graph_.nodes[n].inputs.begin(), graph_.nodes[n].inputs.end());
    }
    return read;
  }

  void AddCoreStage(size_t level, const std::vector<ValueId>& passed) {
    const std::vector<size_t>& nodes = on_cores_[level];
    if (nodes.empty() && passed.empty()) return;
    Stage stage;
    size_t begin = 0;
    for (const size_t end : Cut(nodes, pieces_[level])) {
      const std::vector<size_t> piece(nodes.begin() + static_cast<std::ptrdiff_t>(begin),
                                      nodes.begin() + static_cast<std::ptrdiff_t>(end));
      stage.pieces.push_back(Piece(piece, begin == 0 ? passed : std::vector<ValueId>{}));
      begin = end;
    }
    const std::set<size_t> inside(nodes.begin(), nodes.end());
    const std::set<ValueId> outside = ReadOutside(inside);
    std::set<ValueId> made(passed.begin(), passed.end());
    for (size_t n : nodes) made.insert(graph_.nodes[n].output);
    std::set<ValueId> inputs;
    for (size_t n : nodes) {
      for (ValueId input : graph_.nodes[n].inputs)
        if (!graph_.at(input).IsConstant() && !made.contains(input)) inputs.insert(input);
    }
    for (ValueId value : passed)
      if (!graph_.at(value).IsConstant()) inputs.insert(value);
    stage.inputs = InOrder(inputs, graph_.inputs);
    for (ValueId value : made)
      if (outside.contains(value)) stage.outputs.push_back(value);
    stage.outputs = InOrder({stage.outputs.begin(), stage.outputs.end()}, graph_.outputs);
    stages_.push_back(std::move(stage));
  }

  // The network's ports in their order, then the others.
  static std::vector<ValueId> InOrder(std::set<ValueId> values, const std::vector<ValueId>& ports) {
    std::vector<ValueId> ordered;
    for (ValueId port : ports)
      if (values.erase(port) > 0) ordered.push_back(port);
    ordered.insert(ordered.end(), values.begin(), values.end());
    return ordered;
  }

  // A graph of these nodes alone, which also hands on `passed`.
  Graph Piece(const std::vector<size_t>& nodes, const std::vector<ValueId>& passed) const {
    Graph piece;
    piece.name = graph_.name;
    std::map<ValueId, ValueId> ids;
    std::set<ValueId> made;
    for (size_t n : nodes) made.insert(graph_.nodes[n].output);
    std::set<ValueId> inputs;
    const auto take = [&](ValueId id) {
      const auto [place, is_new] = ids.try_emplace(id, 0);
      if (is_new) place->second = piece.Add(graph_.at(id));
      if (!graph_.at(id).IsConstant() && !made.contains(id)) inputs.insert(id);
      return place->second;
    };
    for (size_t n : nodes) {
      Node node = graph_.nodes[n];
      for (ValueId& input : node.inputs) input = take(input);
      node.output = take(node.output);
      piece.nodes.push_back(std::move(node));
    }
    for (ValueId id : passed) (void)take(id);
    for (ValueId id : InOrder(inputs, graph_.inputs)) piece.inputs.push_back(ids.at(id));
    const std::set<ValueId> outside = ReadOutside({nodes.begin(), nodes.end()});
    std::set<ValueId> outputs(passed.begin(), passed.end());
    for (ValueId id : made)
      if (outside.contains(id)) outputs.insert(id);
    for (ValueId id : InOrder(outputs, graph_.outputs)) piece.outputs.push_back(ids.at(id));
    return piece;
  }

  void AddCalls(size_t level) {
    std::vector<size_t> left = calls_[level];
    while (!left.empty()) {
      const Node& first = graph_.nodes[left.front()];
      Stage stage;
      stage.call = std::get<HostCall>(first.operation);
      stage.name = first.name;
      stage.inputs = first.inputs;
      std::map<size_t, ValueId> outputs;
      std::erase_if(left, [&](size_t n) {
        const Node& node = graph_.nodes[n];
        if (!IsSameCall(first, node)) return false;
        return outputs.emplace(std::get<HostCall>(node.operation).result, node.output).second;
      });
      for (const auto& [result, value] : outputs) stage.outputs.push_back(value);
      stages_.push_back(std::move(stage));
    }
  }

  Graph& graph_;
  const uint32_t cores_;
  std::vector<size_t> levels_;                 // of nodes
  std::vector<std::vector<size_t>> on_cores_;  // by level
  std::vector<std::vector<size_t>> calls_;
  std::vector<size_t> pieces_;  // by level
  std::vector<Stage> stages_;
};

}  // namespace

uint64_t CostOf(const Graph& graph, const Node& node) {
  if (std::holds_alternative<Reshape>(node.operation)) return 0;
  uint64_t elements = graph.at(node.output).Elements();
  for (ValueId input : node.inputs)
    if (!graph.at(input).IsConstant()) elements += graph.at(input).Elements();
  return MacsOf(graph, node) + elements * kElementCost;
}

Result<std::vector<Stage>> Partition(Graph& graph, uint32_t cores) {
  return Partitioner(graph, cores).Run();
}

}  // namespace nrtd::compiler
