// SPDX-License-Identifier: Apache-2.0
#include "compiler/memory_plan.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "base/sizes.h"

namespace nrtd::compiler {
namespace {

// Bytes that one value, or several values one after the other, live in.
struct Block {
  uint64_t bytes = 0;
  int64_t birth = 0;  // index of the node that makes the first of them; -1 for inputs
  int64_t death = 0;  // index of the last node that reads one of them
  bool is_output = false;
  std::string name;  // of the output
  uint32_t var_id = 0;
  uint64_t offset = 0;
};

// How input `index` of the node is stored if it is a constant.
DType StoredType(const Graph& graph, const Node& node, size_t index) {
  if (index == 1) {
    if (const auto* conv = std::get_if<Conv>(&node.operation)) return WeightType(conv->precision);
    if (const auto* product = std::get_if<MatMul>(&node.operation))
      return WeightType(product->precision);
  }
  return graph.at(node.inputs[index]).dtype;
}

class Planner {
 public:
  explicit Planner(const Graph& graph) : graph_(graph), block_of_(graph.values.size(), kNoBlock) {}

  MemoryPlan Plan() {
    MakeBlocks();
    WorkInPlace();
    AddPorts();
    AddFiles();
    PlaceOutputs();
    PlaceShared();
    plan_.scratch.resize(graph_.values.size());
    for (ValueId id = 0; id < graph_.values.size(); ++id) {
      if (block_of_[id] == kNoBlock) continue;
      const Block& block = blocks_[Root(block_of_[id])];
      plan_.scratch[id] = Placement{block.var_id, block.offset};
    }
    return std::move(plan_);
  }

 private:
  static constexpr size_t kNoBlock = SIZE_MAX;

  size_t Root(size_t block) const {
    while (joined_[block] != block) block = joined_[block];
    return block;
  }

  size_t NewBlock(ValueId id, int64_t birth) {
    blocks_.push_back({graph_.at(id).Bytes(), birth, birth, false, {}, 0, 0});
    joined_.push_back(joined_.size());
    block_of_[id] = blocks_.size() - 1;
    return block_of_[id];
  }

  void MakeBlocks() {
    const std::vector<uint32_t> uses = graph_.UseCounts();
    for (ValueId input : graph_.inputs) {
      if (uses[input] > 0) NewBlock(input, -1);
    }
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      for (ValueId input : node.inputs) {
        if (block_of_[input] != kNoBlock) BlockOf(input).death = static_cast<int64_t>(i);
      }
      if (std::holds_alternative<Reshape>(node.operation) &&
          block_of_[node.inputs[0]] != kNoBlock) {
        block_of_[node.output] = block_of_[node.inputs[0]];
      } else {
        NewBlock(node.output, static_cast<int64_t>(i));
      }
    }
    for (ValueId output : graph_.outputs) {
      if (block_of_[output] == kNoBlock) NewBlock(output, -1);  // a constant, copied there
      BlockOf(output).is_output = true;
      BlockOf(output).name = graph_.at(output).name;
    }
    for (const Block& block : blocks_) plan_.unshared_bytes += AlignUp(block.bytes, kAlignment);
  }

  Block& BlockOf(ValueId id) { return blocks_[Root(block_of_[id])]; }

  static bool MayWorkInPlace(const Graph& graph, const Node& node) {
    if (std::holds_alternative<Activation>(node.operation)) return true;
    if (std::holds_alternative<Softmax>(node.operation)) return true;
    if (std::holds_alternative<LayerNorm>(node.operation)) return true;
    return std::holds_alternative<Binary>(node.operation) &&
           graph.at(node.inputs[0]).shape == graph.at(node.output).shape;
  }

  void WorkInPlace() {
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      if (!MayWorkInPlace(graph_, node) || block_of_[node.inputs[0]] == kNoBlock) continue;
      const size_t from = Root(block_of_[node.inputs[0]]);
      const size_t to = Root(block_of_[node.output]);
      const bool ends = blocks_[from].death == static_cast<int64_t>(i) && !blocks_[from].is_output;
      // No other input may lie where the result goes.
      const bool apart =
          std::all_of(node.inputs.begin() + 1, node.inputs.end(), [&](ValueId other) {
            return block_of_[other] == kNoBlock || Root(block_of_[other]) != from;
          });
      if (!ends || !apart) continue;
      joined_[to] = from;
      blocks_[from].death = blocks_[to].death;
      blocks_[from].is_output = blocks_[to].is_output;
      blocks_[from].name = blocks_[to].name;
    }
  }

  uint32_t AddVariable(PlannedVariable variable) {
    while (!names_.insert(variable.name).second) variable.name += '_';
    variable.var_id = static_cast<uint32_t>(plan_.variables.size());
    plan_.variables.push_back(std::move(variable));
    return plan_.variables.back().var_id;
  }

  // First, because their names must stay.
  void AddPorts() {
    using Kind = PlannedVariable::Kind;
    for (ValueId id : graph_.inputs) {
      if (block_of_[id] == kNoBlock) continue;
      const Value& value = graph_.at(id);
      plan_.input_variables[id] =
          AddVariable({Kind::kInput, value.name, 0, value.Bytes(), id, value.dtype});
    }
    for (ValueId id : graph_.outputs) {
      const Value& value = graph_.at(id);
      plan_.output_variables.push_back(
          AddVariable({Kind::kOutput, value.name, 0, value.Bytes(), id, value.dtype}));
    }
  }

  void AddFile(ValueId id, DType dtype) {
    const Value& value = graph_.at(id);
    if (!value.IsConstant() || plan_.files.contains({id, dtype})) return;
    const uint64_t bytes = value.Elements() * DTypeSize(dtype);
    plan_.files[{id, dtype}] =
        AddVariable({PlannedVariable::Kind::kFile, value.name, 0, bytes, id, dtype});
    plan_.weight_bytes += bytes;
  }

  void AddFiles() {
    for (const Node& node : graph_.nodes) {
      for (size_t i = 0; i < node.inputs.size(); ++i)
        AddFile(node.inputs[i], StoredType(graph_, node, i));
    }
    for (ValueId output : graph_.outputs) AddFile(output, graph_.at(output).dtype);
  }

  bool IsShared(size_t block) const { return joined_[block] == block && !blocks_[block].is_output; }

  void PlaceOutputs() {
    for (size_t i = 0; i < blocks_.size(); ++i) {
      if (joined_[i] != i || IsShared(i)) continue;
      blocks_[i].var_id =
          AddVariable({PlannedVariable::Kind::kScratch, "scratch:" + blocks_[i].name, 0,
                       blocks_[i].bytes, 0, DType::kFloat32});
      plan_.scratch_bytes += AlignUp(blocks_[i].bytes, kAlignment);
    }
  }

  // Largest first, each at the lowest offset where no block of an overlapping lifetime lies.
  void PlaceShared() {
    std::vector<size_t> order;
    for (size_t i = 0; i < blocks_.size(); ++i) {
      if (IsShared(i)) order.push_back(i);
    }
    if (order.empty()) return;
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return blocks_[a].bytes > blocks_[b].bytes; });
    std::vector<size_t> placed;  // by rising offset
    uint64_t size = 0;
    for (size_t i : order) {
      Block& block = blocks_[i];
      uint64_t offset = 0;
      for (size_t other : placed) {
        const Block& there = blocks_[other];
        if (there.death < block.birth || block.death < there.birth) continue;
        if (offset + block.bytes <= there.offset) break;
        offset = std::max(offset, AlignUp(there.offset + there.bytes, kAlignment));
      }
      block.offset = offset;
      size = std::max(size, offset + block.bytes);
      placed.insert(std::upper_bound(
                        placed.begin(), placed.end(), i,
                        [&](size_t a, size_t b) { return blocks_[a].offset < blocks_[b].offset; }),
                    i);
    }
    size = AlignUp(size, kAlignment);
    const uint32_t var_id =
        AddVariable({PlannedVariable::Kind::kScratch, "scratch", 0, size, 0, DType::kFloat32});
    for (size_t i : order) blocks_[i].var_id = var_id;
    plan_.scratch_bytes += size;
  }

  const Graph& graph_;
  std::vector<Block> blocks_;
  std::vector<size_t> joined_;    // block -> the block whose bytes it uses, itself if its own
  std::vector<size_t> block_of_;  // value -> block
  std::set<std::string> names_;
  MemoryPlan plan_;
};

}  // namespace

MemoryPlan PlanMemory(const Graph& graph) {
  return Planner(graph).Plan();
}

ByteVector StoredElements(const Value& constant, DType stored) {
  if (stored == constant.dtype) return *constant.data;
  ByteVector rounded(constant.Elements() * sizeof(uint16_t));
  const MutableByteSpan out(rounded);
  for (size_t i = 0; i < constant.Elements(); ++i) {
    const auto value = LoadAt<float>(*constant.data, i * sizeof(float));
    StoreAt(out, i * sizeof(uint16_t), FloatToBFloat16(value));
  }
  return rounded;
}

}  // namespace nrtd::compiler
