// SPDX-License-Identifier: Apache-2.0
//
// LSTM and GRU, unrolled: the length of a sequence is fixed, and the inputs' products for all its
// steps are one.
#include <functional>

#include "compiler/operators/operator.h"

namespace nrtd::compiler {
namespace {

using sim::BinaryFunction;
using sim::Function;

// What both have in common, checked.
struct Recurrence {
  int64_t steps = 0, batch = 0, inputs = 0, hidden = 0, directions = 1;
  ValueId x = 0;
  std::vector<float> weights, recurrent, bias;  // [directions, gates hidden, ...]; bias both halves
  int64_t gates = 0;

  bool Backwards(int64_t direction, const OnnxNode& node) const {
    return direction == 1 || node.Attribute<std::string>("direction", "forward") == "reverse";
  }
};

Result<std::vector<float>> ConstantFloats(const OnnxNode& node, size_t index, const Shape& shape,
                                          GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId id, builder.FloatInput(node, index));
  const Value& value = builder.at(id);
  if (!value.IsConstant())
    return Fail(Nerr::kInvalid, "{}: its weights '{}' must be constant", Describe(node),
                value.name);
  if (value.shape != shape) {
    return Fail(Nerr::kInvalid, "{}: '{}' has shape {}, expected {}", Describe(node), value.name,
                ShapeText(value.shape), ShapeText(shape));
  }
  return FloatsOf(value);
}

Result<Recurrence> Read(const OnnxNode& node, int64_t gates, GraphBuilder& builder) {
  Recurrence r;
  r.gates = gates;
  NRTD_ASSIGN(r.x, builder.FloatInput(node, 0));
  const Shape& shape = builder.at(r.x).shape;
  r.hidden = node.Attribute<int64_t>("hidden_size", 0);
  if (shape.size() != 3 || r.hidden < 1 || node.Attribute<int64_t>("layout", 0) != 0)
    return Fail(Nerr::kInvalid, "{}: it takes [steps, batch, inputs], layout 0 and hidden_size",
                Describe(node));
  constexpr int64_t kMostSteps = 1 << 16;  // each becomes some ten nodes
  if (shape[0] > kMostSteps || r.hidden > static_cast<int64_t>(sim::kMaxElements))
    return Fail(Nerr::kInvalid, "{}: {} steps of {} hidden numbers are too many, {} steps may be",
                Describe(node), shape[0], r.hidden, kMostSteps);
  r.steps = shape[0];
  r.batch = shape[1];
  r.inputs = shape[2];
  const auto direction = node.Attribute<std::string>("direction", "forward");
  r.directions = direction == "bidirectional" ? 2 : 1;
  if (node.attributes.contains("clip") || node.Attribute<int64_t>("input_forget", 0) != 0)
    return Fail(Nerr::kInvalid, "{}: clip and input_forget are not supported", Describe(node));
  const int64_t rows = gates * r.hidden;
  NRTD_ASSIGN(r.weights, ConstantFloats(node, 1, {r.directions, rows, r.inputs}, builder));
  NRTD_ASSIGN(r.recurrent, ConstantFloats(node, 2, {r.directions, rows, r.hidden}, builder));
  r.bias.assign(static_cast<size_t>(r.directions * 2 * rows), 0.0F);
  if (node.HasInput(3)) {
    NRTD_ASSIGN(r.bias, ConstantFloats(node, 3, {r.directions, 2 * rows}, builder));
  }
  if (node.HasInput(4)) {
    NRTD_ASSIGN(const std::vector<int64_t> lengths, builder.Integers(node, 4));
    for (int64_t length : lengths) {
      if (length != r.steps)
        return Fail(Nerr::kInvalid, "{}: sequences shorter than the {} steps are not supported",
                    Describe(node), r.steps);
    }
  }
  return r;
}

// Appends one network's nodes, with names that tell direction and step.
class Cell {
 public:
  Cell(const OnnxNode& node, const Recurrence& r, int64_t direction, GraphBuilder& builder)
      : node_(node), r_(r), direction_(direction), builder_(builder) {}

  void SetStep(int64_t step) { step_ = step; }

  ValueId Between(std::string_view what, Shape shape) {
    return builder_.Between(node_, fmt::format("{}.{}.{}", what, direction_, step_),
                            std::move(shape));
  }
  ValueId Apply(std::string_view what, Operation operation, std::vector<ValueId> inputs,
                Shape shape) {
    const ValueId output = Between(what, std::move(shape));
    builder_.Append(node_, std::move(operation), std::move(inputs), output);
    return output;
  }
  ValueId Pair(std::string_view what, BinaryFunction function, ValueId a, ValueId b) {
    return Apply(what, Binary{function}, {a, b}, Shape(builder_.at(a).shape));
  }
  ValueId Map(std::string_view what, Function function, ValueId x) {
    return Apply(what, Activation{function}, {x}, Shape(builder_.at(x).shape));
  }
  // Columns [first, first + count) of a matrix.
  ValueId Columns(std::string_view what, ValueId x, int64_t first, int64_t count) {
    const Shape& shape = builder_.at(x).shape;
    const Shape dims{shape[0], count};
    return Apply(what, Rearrange{{{0, dims, first, {shape[1], 1}, 0, {count, 1}}}}, {x}, dims);
  }
  // Rows of the gates [first, first + count) of a [gates hidden, depth] matrix, transposed.
  ValueId Transposed(std::string_view what, const std::vector<float>& all, int64_t depth,
                     int64_t first, int64_t count) {
    const int64_t rows = count * r_.hidden;
    const int64_t from = (direction_ * r_.gates + first) * r_.hidden;
    std::vector<float> values(static_cast<size_t>(rows * depth));
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t k = 0; k < depth; ++k)
        values[static_cast<size_t>(k * rows + row)] =
            all[static_cast<size_t>((from + row) * depth + k)];
    return builder_.Constant(node_, fmt::format("{}.{}", what, direction_), {depth, rows}, values);
  }
  // Of the gates [first, first + count): the input's half, the recurrent half, or both.
  ValueId Bias(std::string_view what, int64_t first, int64_t count, bool of_input,
               bool of_recurrent) {
    const int64_t rows = r_.gates * r_.hidden;
    std::vector<float> values;
    for (int64_t row = first * r_.hidden; row < (first + count) * r_.hidden; ++row) {
      const auto at = static_cast<size_t>(direction_ * 2 * rows + row);
      values.push_back((of_input ? r_.bias[at] : 0) +
                       (of_recurrent ? r_.bias[at + static_cast<size_t>(rows)] : 0));
    }
    const auto size = static_cast<int64_t>(values.size());
    return builder_.Constant(node_, fmt::format("{}.{}", what, direction_), {size}, values);
  }
  ValueId Product(std::string_view what, ValueId a, ValueId b, std::optional<ValueId> bias) {
    std::vector<ValueId> inputs{a, b};
    if (bias) inputs.push_back(*bias);
    return Apply(what, MatMul{}, std::move(inputs),
                 {builder_.at(a).shape[0], builder_.at(b).shape[1]});
  }
  // What the inputs give to every gate at every step: [steps batch, gates hidden].
  ValueId Inputs(ValueId bias) {
    const Shape rows{r_.steps * r_.batch, r_.inputs};
    const ValueId flat = Apply("rows", Reshape{}, {r_.x}, rows);
    return Product("inputs", flat, Transposed("W", r_.weights, r_.inputs, 0, r_.gates), bias);
  }
  // Of one step.
  ValueId InputsAt(ValueId all, int64_t step) {
    const int64_t columns = r_.gates * r_.hidden;
    const Shape dims{r_.batch, columns};
    return Apply("input",
                 Rearrange{{{0, dims, step * r_.batch * columns, {columns, 1}, 0, {columns, 1}}}},
                 {all}, dims);
  }

 private:
  const OnnxNode& node_;
  const Recurrence& r_;
  const int64_t direction_;
  int64_t step_ = 0;
  GraphBuilder& builder_;
};

// One direction of an initial state [directions, batch, hidden]; nothing where it is absent.
Result<std::optional<ValueId>> Initial(const OnnxNode& node, size_t index, int64_t direction,
                                       const Recurrence& r, Cell& cell, GraphBuilder& builder) {
  if (!node.HasInput(index)) return std::nullopt;
  NRTD_ASSIGN(const ValueId all, builder.FloatInput(node, index));
  if (builder.at(all).shape != Shape{r.directions, r.batch, r.hidden})
    return Fail(Nerr::kInvalid, "{}: '{}' has shape {}", Describe(node), builder.at(all).name,
                ShapeText(builder.at(all).shape));
  const Shape dims{r.batch, r.hidden};
  const Shape strides{r.hidden, 1};
  return cell.Apply(fmt::format("initial{}", index),
                    Rearrange{{{0, dims, direction * r.batch * r.hidden, strides, 0, strides}}},
                    {all}, dims);
}

// Puts [batch, hidden] values together: output `index`, [steps, directions, batch, hidden] for the
// first, [directions, batch, hidden] for the others.
Result<void> HandOut(const OnnxNode& node, size_t index, const std::vector<ValueId>& values,
                     const Shape& shape, const Recurrence& r, GraphBuilder& builder) {
  if (!node.HasOutput(index)) return {};
  NRTD_ASSIGN(const ValueId output, builder.Output(node, DType::kFloat32, Shape(shape), index));
  Rearrange together;
  const Shape dims{r.batch, r.hidden};
  const Shape strides{r.hidden, 1};
  for (size_t i = 0; i < values.size(); ++i) {
    together.parts.push_back(
        {i, dims, 0, strides, static_cast<int64_t>(i) * r.batch * r.hidden, strides});
  }
  builder.Append(node, std::move(together), values, output);
  return {};
}

// The state before a step, [batch, hidden] each; the cell's is the LSTM's only.
struct State {
  std::optional<ValueId> hidden;
  std::optional<ValueId> cell;
};
using Step = std::function<State(Cell& cell, ValueId inputs, const State& before)>;

// Runs the steps of all directions and hands out what the node's outputs want.
Result<void> Unroll(const OnnxNode& node, const Recurrence& r, bool has_cell, bool joint_bias,
                    GraphBuilder& builder, const std::function<Step(Cell& cell)>& prepare) {
  const auto count = static_cast<size_t>(r.steps * r.directions);
  std::vector<ValueId> hidden(count);
  std::vector<ValueId> last_hidden;
  std::vector<ValueId> last_cell;
  for (int64_t d = 0; d < r.directions; ++d) {
    Cell cell(node, r, d, builder);
    State state;
    NRTD_ASSIGN(state.hidden, Initial(node, 5, d, r, cell, builder));
    if (has_cell) {
      NRTD_ASSIGN(state.cell, Initial(node, 6, d, r, cell, builder));
    }
    const ValueId all = cell.Inputs(cell.Bias("B", 0, r.gates, true, joint_bias));
    const Step step = prepare(cell);
    for (int64_t s = 0; s < r.steps; ++s) {
      const int64_t at = r.Backwards(d, node) ? r.steps - 1 - s : s;
      cell.SetStep(at);
      state = step(cell, cell.InputsAt(all, at), state);
      hidden[static_cast<size_t>(at * r.directions + d)] = *state.hidden;
    }
    last_hidden.push_back(*state.hidden);
    if (has_cell) last_cell.push_back(*state.cell);
  }
  const Shape last{r.directions, r.batch, r.hidden};
  NRTD_TRY(HandOut(node, 0, hidden, {r.steps, r.directions, r.batch, r.hidden}, r, builder));
  NRTD_TRY(HandOut(node, 1, last_hidden, last, r, builder));
  if (has_cell) NRTD_TRY(HandOut(node, 2, last_cell, last, r, builder));
  return {};
}

// Written out or not, they are the defaults of every direction.
Result<void> CheckActivations(const OnnxNode& node, const std::string& defaults) {
  const auto given = node.Attribute<std::string>("activations", "");
  if (given.empty() || given == defaults || given == defaults + "," + defaults) return {};
  return Fail(Nerr::kInvalid, "{}: activations {} are not supported, only {}", Describe(node),
              given, defaults);
}

}  // namespace

// Gates i, o, f, c: c' = f c + i tanh(c~), h = o tanh(c').
Result<void> BuildLstm(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_TRY(CheckActivations(node, "Sigmoid,Tanh,Tanh"));
  if (node.HasInput(7))
    return Fail(Nerr::kInvalid, "{}: peepholes are not supported", Describe(node));
  NRTD_ASSIGN(const Recurrence r, Read(node, 4, builder));
  const int64_t n = r.hidden;
  return Unroll(node, r, /*has_cell=*/true, /*joint_bias=*/true, builder, [&](Cell& first) -> Step {
    const ValueId recurrent = first.Transposed("R", r.recurrent, n, 0, 4);
    return [recurrent, n](Cell& cell, ValueId inputs, const State& before) {
      ValueId gates = inputs;
      if (before.hidden) {
        const ValueId past = cell.Product("past", *before.hidden, recurrent, std::nullopt);
        gates = cell.Pair("gates", BinaryFunction::kAdd, inputs, past);
      }
      const ValueId open =
          cell.Map("open", Function::kSigmoid, cell.Columns("iof", gates, 0, 3 * n));
      const ValueId fresh = cell.Map("fresh", Function::kTanh, cell.Columns("c", gates, 3 * n, n));
      State after;
      after.cell =
          cell.Pair("new", BinaryFunction::kMultiply, cell.Columns("i", open, 0, n), fresh);
      if (before.cell) {
        const ValueId kept = cell.Pair("kept", BinaryFunction::kMultiply,
                                       cell.Columns("f", open, 2 * n, n), *before.cell);
        after.cell = cell.Pair("cell", BinaryFunction::kAdd, kept, *after.cell);
      }
      after.hidden = cell.Pair("hidden", BinaryFunction::kMultiply, cell.Columns("o", open, n, n),
                               cell.Map("squashed", Function::kTanh, *after.cell));
      return after;
    };
  });
}

// Gates z, r, h: h' = (1 - z) h~ + z h.
Result<void> BuildGru(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_TRY(CheckActivations(node, "Sigmoid,Tanh"));
  NRTD_ASSIGN(const Recurrence r, Read(node, 3, builder));
  const int64_t n = r.hidden;
  const bool reset_behind = node.Attribute<int64_t>("linear_before_reset", 0) != 0;
  return Unroll(
      node, r, /*has_cell=*/false, /*joint_bias=*/false, builder, [&](Cell& first) -> Step {
        const ValueId gates_weights = first.Transposed("Rzr", r.recurrent, n, 0, 2);
        const ValueId gates_bias = first.Bias("Bzr", 0, 2, false, true);
        const ValueId fresh_weights = first.Transposed("Rh", r.recurrent, n, 2, 1);
        const ValueId fresh_bias = first.Bias("Bh", 2, 1, false, true);
        const ValueId zero = builder.Constant(
            node, "zero", {r.batch, n}, std::vector<float>(static_cast<size_t>(r.batch * n), 0.0F));
        return [=](Cell& cell, ValueId inputs, const State& before) {
          const ValueId h = before.hidden.value_or(zero);
          const ValueId past = cell.Product("past", h, gates_weights, gates_bias);
          const ValueId open = cell.Map(
              "open", Function::kSigmoid,
              cell.Pair("gates", BinaryFunction::kAdd, cell.Columns("zr", inputs, 0, 2 * n), past));
          const ValueId z = cell.Columns("z", open, 0, n);
          const ValueId reset = cell.Columns("r", open, n, n);
          ValueId memory;
          if (reset_behind) {
            memory = cell.Pair("memory", BinaryFunction::kMultiply,
                               cell.Product("remembered", h, fresh_weights, fresh_bias), reset);
          } else {
            memory = cell.Product("memory", cell.Pair("reset", BinaryFunction::kMultiply, h, reset),
                                  fresh_weights, fresh_bias);
          }
          const ValueId fresh = cell.Map(
              "fresh", Function::kTanh,
              cell.Pair("sum", BinaryFunction::kAdd, cell.Columns("h", inputs, 2 * n, n), memory));
          // (1 - z) h~ + z h = h~ + z (h - h~)
          const ValueId way = cell.Pair("way", BinaryFunction::kSubtract, h, fresh);
          State after;
          after.hidden = cell.Pair("hidden", BinaryFunction::kAdd,
                                   cell.Pair("step", BinaryFunction::kMultiply, z, way), fresh);
          return after;
        };
      });
}

}  // namespace nrtd::compiler
