// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>

#include "compiler/operators/operator.h"

namespace nrtd::compiler {
namespace {

struct FunctionRow {
  std::string_view op_type;
  sim::Function function;
  float alpha = 0;  // where the node has no attribute "alpha"
  float beta = 0;
};
constexpr FunctionRow kFunctions[] = {
    {"Abs", sim::Function::kAbs},           {"Ceil", sim::Function::kCeil},
    {"Elu", sim::Function::kElu, 1},        {"Erf", sim::Function::kErf},
    {"Exp", sim::Function::kExp},           {"Floor", sim::Function::kFloor},
    {"Log", sim::Function::kLog},           {"LeakyRelu", sim::Function::kLeakyRelu, 0.01F},
    {"Neg", sim::Function::kLinear, -1},    {"Reciprocal", sim::Function::kReciprocal},
    {"Relu", sim::Function::kRelu},         {"Sigmoid", sim::Function::kSigmoid},
    {"Softplus", sim::Function::kSoftplus}, {"Sqrt", sim::Function::kSqrt},
    {"Tanh", sim::Function::kTanh},
};

struct ArithmeticRow {
  std::string_view op_type;
  sim::BinaryFunction function;
};
constexpr ArithmeticRow kArithmetic[] = {
    {"Add", sim::BinaryFunction::kAdd},     {"Div", sim::BinaryFunction::kDivide},
    {"Max", sim::BinaryFunction::kMaximum}, {"Mean", sim::BinaryFunction::kAdd},
    {"Min", sim::BinaryFunction::kMinimum}, {"Mul", sim::BinaryFunction::kMultiply},
    {"Pow", sim::BinaryFunction::kPower},   {"Sub", sim::BinaryFunction::kSubtract},
    {"Sum", sim::BinaryFunction::kAdd},
};

template <typename Table>
const auto& RowOf(const Table& table, const OnnxNode& node) {
  return *std::find_if(std::begin(table), std::end(table),
                       [&](const auto& row) { return row.op_type == node.op_type; });
}

Activation Linear(float factor, float addend) {
  return {sim::Function::kLinear, factor, addend};
}

// Of a power of two: by others a product may differ from the quotient in the last bit, which is all
// the difference behind a Floor.
bool HasExactReciprocal(float scalar) {
  int exponent = 0;
  return std::isnormal(scalar) && std::isnormal(1 / scalar) &&
         std::fabs(std::frexp(scalar, &exponent)) == 0.5F;
}

// What a pair is to x when the other one is this number; nothing where it stays a pair.
std::optional<Activation> WithScalar(sim::BinaryFunction function, float scalar,
                                     bool scalar_first) {
  switch (function) {
    case sim::BinaryFunction::kAdd:
      return Linear(1, scalar);
    case sim::BinaryFunction::kSubtract:
      return scalar_first ? Linear(-1, scalar) : Linear(1, -scalar);
    case sim::BinaryFunction::kMultiply:
      return Linear(scalar, 0);
    case sim::BinaryFunction::kDivide:
      if (!scalar_first && HasExactReciprocal(scalar)) return Linear(1 / scalar, 0);
      if (scalar_first && scalar == 1) return Activation{sim::Function::kReciprocal, 0, 0};
      return std::nullopt;
    case sim::BinaryFunction::kPower:
      if (!scalar_first && scalar == 0.5F) return Activation{sim::Function::kSqrt, 0, 0};
      if (!scalar_first && scalar == 1) return Linear(1, 0);
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

bool Commutes(sim::BinaryFunction function) {
  return function != sim::BinaryFunction::kSubtract && function != sim::BinaryFunction::kDivide &&
         function != sim::BinaryFunction::kPower;
}

void AppendPair(const OnnxNode& node, sim::BinaryFunction function, ValueId a, ValueId b,
                ValueId output, GraphBuilder& builder) {
  const Shape& shape = builder.at(output).shape;
  // Copies: the builder's values move as it grows.
  const bool a_whole = builder.at(a).shape == shape;
  const bool b_whole = builder.at(b).shape == shape;
  if (const auto scalar = ScalarOf(builder.at(b)); scalar && a_whole) {
    if (const auto activation = WithScalar(function, *scalar, false)) {
      builder.Append(node, *activation, {a}, output);
      return;
    }
    if (function == sim::BinaryFunction::kPower && *scalar == 2) {
      builder.Append(node, Binary{sim::BinaryFunction::kMultiply}, {a, a}, output);
      return;
    }
  }
  if (const auto scalar = ScalarOf(builder.at(a)); scalar && b_whole) {
    if (const auto activation = WithScalar(function, *scalar, true)) {
      builder.Append(node, *activation, {b}, output);
      return;
    }
  }
  // The one that is repeated second, as the instruction wants it.
  if (!a_whole && b_whole && Commutes(function)) std::swap(a, b);
  builder.Append(node, Binary{function}, {a, b}, output);
}

Result<Shape> Broadcast(const OnnxNode& node, const Shape& a, const Shape& b) {
  if (auto shape = BroadcastShape(a, b)) return *shape;
  return Fail(Nerr::kInvalid, "{}: shapes {} and {} do not repeat to one", Describe(node),
              ShapeText(a), ShapeText(b));
}

Result<void> CheckArithmetic(const OnnxNode& node, const Value& value) {
  constexpr std::array kTypes{DType::kFloat32, DType::kInt32, DType::kInt64};
  if (std::find(kTypes.begin(), kTypes.end(), value.dtype) != kTypes.end()) return {};
  return Fail(Nerr::kInvalid,
              "{}: tensor '{}' is {}, but only float32, int32 and int64 can be computed with; "
              "convert the model",
              Describe(node), value.name, DTypeName(value.dtype));
}

// Numbers that an integer holds and that do not divide.
bool IsWhole(const Value& exponent) {
  if (!exponent.IsConstant()) return false;
  const std::vector<float> floats = FloatsOf(exponent);
  return std::all_of(floats.begin(), floats.end(), [](float v) {
    return v >= 0 && v <= static_cast<float>(1 << 30) && v == std::floor(v);
  });
}

// An integer to the power of a float, in float32.
Result<void> BuildRoot(const OnnxNode& node, ValueId base, ValueId exponent, Shape shape,
                       GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId output, builder.Output(node, builder.at(base).dtype, Shape(shape)));
  const ValueId floats = builder.Between(node, "base", builder.at(base).shape);
  builder.Append(node, Cast{}, {base}, floats);
  const ValueId power = builder.Between(node, "power", std::move(shape));
  AppendPair(node, sim::BinaryFunction::kPower, floats, exponent, power, builder);
  builder.Append(node, Cast{}, {power}, output);
  return {};
}

}  // namespace

Result<void> BuildArithmetic(const OnnxNode& node, GraphBuilder& builder) {
  const sim::BinaryFunction function = RowOf(kArithmetic, node).function;
  std::vector<ValueId> inputs;
  Shape shape;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    NRTD_ASSIGN(const ValueId id, builder.Input(node, i));
    NRTD_TRY(CheckArithmetic(node, builder.at(id)));
    NRTD_ASSIGN(shape, Broadcast(node, shape, builder.at(id).shape));
    inputs.push_back(id);
  }
  if (inputs.empty()) return Fail(Nerr::kInvalid, "{} has no inputs", Describe(node));
  const DType dtype = builder.at(inputs[0]).dtype;
  // An exponent may be of another type.
  if (inputs.size() == 2 && dtype != DType::kFloat32 &&
      builder.at(inputs[1]).dtype == DType::kFloat32 && !IsWhole(builder.at(inputs[1])))
    return BuildRoot(node, inputs[0], inputs[1], std::move(shape), builder);
  if (inputs.size() == 2 && builder.at(inputs[1]).dtype != dtype) {
    const ValueId cast = builder.Between(node, "cast", builder.at(inputs[1]).shape, dtype);
    builder.Append(node, Cast{}, {inputs[1]}, cast);
    inputs[1] = cast;
  }
  NRTD_ASSIGN(const ValueId output, builder.Output(node, dtype, shape));
  const bool mean = node.op_type == "Mean" && inputs.size() > 1;
  ValueId sum = inputs[0];
  for (size_t i = 1; i < inputs.size(); ++i) {
    const bool last = i + 1 == inputs.size() && !mean;
    NRTD_ASSIGN(Shape partial, Broadcast(node, builder.at(sum).shape, builder.at(inputs[i]).shape));
    const ValueId next =
        last ? output : builder.Between(node, fmt::format("part{}", i), std::move(partial), dtype);
    AppendPair(node, function, sum, inputs[i], next, builder);
    sum = next;
  }
  if (mean) builder.Append(node, Linear(1 / static_cast<float>(inputs.size()), 0), {sum}, output);
  if (inputs.size() == 1) builder.Append(node, Reshape{}, {inputs[0]}, output);
  return {};
}

Result<void> BuildFunction(const OnnxNode& node, GraphBuilder& builder) {
  const FunctionRow& row = RowOf(kFunctions, node);
  NRTD_ASSIGN(const ValueId x, builder.Input(node, 0));
  const Value& from = builder.at(x);
  const DType dtype = from.dtype;
  NRTD_ASSIGN(const ValueId output, builder.Output(node, dtype, Shape(from.shape)));
  if (node.op_type == "Neg" && (dtype == DType::kInt64 || dtype == DType::kInt32)) {
    const ValueId zero =
        builder.Constant(node, "zero", dtype, {}, ByteVector(DTypeSize(dtype), std::byte{0}));
    builder.Append(node, Binary{sim::BinaryFunction::kSubtract}, {zero, x}, output);
    return {};
  }
  NRTD_TRY(builder.FloatInput(node, 0));
  builder.Append(
      node,
      Activation{row.function,
                 row.op_type == "Neg" ? -1 : node.Attribute<float>("alpha", row.alpha), row.beta},
      {x}, output);
  return {};
}

Result<void> BuildClip(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.FloatInput(node, 0));
  NRTD_ASSIGN(const ValueId output,
              builder.Output(node, DType::kFloat32, Shape(builder.at(x).shape)));
  std::array<float, 2> bounds{std::numeric_limits<float>::lowest(),
                              std::numeric_limits<float>::max()};
  for (size_t i = 0; i < bounds.size(); ++i) {
    bounds[i] = node.Attribute<float>(i == 0 ? "min" : "max", bounds[i]);
    if (!node.HasInput(i + 1)) continue;
    NRTD_ASSIGN(const ValueId id, builder.FloatInput(node, i + 1));
    const auto bound = ScalarOf(builder.at(id));
    if (!bound) {
      return Fail(Nerr::kInvalid, "{}: its bound '{}' is not known before the network runs",
                  Describe(node), builder.at(id).name);
    }
    bounds[i] = *bound;
  }
  builder.Append(node, Activation{sim::Function::kClip, bounds[0], bounds[1]}, {x}, output);
  return {};
}

// max(0, min(1, alpha x + beta)), and for HardSwish that times x.
Result<void> BuildHardActivation(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.FloatInput(node, 0));
  const Shape shape = builder.at(x).shape;
  NRTD_ASSIGN(const ValueId output, builder.Output(node, DType::kFloat32, shape));
  const bool swish = node.op_type == "HardSwish";
  const float alpha = swish ? 1.0F / 6 : node.Attribute<float>("alpha", 0.2F);
  const float beta = node.Attribute<float>("beta", 0.5F);
  const ValueId line = builder.Between(node, "line", shape);
  builder.Append(node, Linear(alpha, beta), {x}, line);
  const ValueId clipped = swish ? builder.Between(node, "clipped", shape) : output;
  builder.Append(node, Activation{sim::Function::kClip, 0, 1}, {line}, clipped);
  if (swish) builder.Append(node, Binary{sim::BinaryFunction::kMultiply}, {clipped, x}, output);
  return {};
}

namespace {
// As Copy has it (driver_shim/sim/isa.h).
bool IsCastable(DType dtype) {
  return dtype != DType::kInt16 && dtype != DType::kUInt16 && dtype != DType::kUInt32 &&
         dtype != DType::kUInt64;
}
}  // namespace

Result<void> BuildCast(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.Input(node, 0));
  NRTD_ASSIGN(const ValueId output, builder.Output(node));
  const DType from = builder.at(x).dtype;
  const DType to = builder.at(output).dtype;
  if (from == to) {
    builder.Append(node, Reshape{}, {x}, output);
    return {};
  }
  if (!IsCastable(from) || !IsCastable(to)) {
    return Fail(Nerr::kInvalid,
                "{}: from {} to {} is not supported; integers of 8 bits, int32 and int64 are",
                Describe(node), DTypeName(from), DTypeName(to));
  }
  builder.Append(node, Cast{}, {x}, output);
  return {};
}

Result<void> BuildIdentity(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.Input(node, 0));
  const Value& from = builder.at(x);
  NRTD_ASSIGN(const ValueId output, builder.Output(node, from.dtype, Shape(from.shape)));
  builder.Append(node, Reshape{}, {x}, output);
  return {};
}

namespace {

// A type that the core compares and that holds every number of `dtype`, in its order.
std::optional<DType> ComparedAs(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
    case DType::kInt32:
    case DType::kInt64:
    case DType::kBool:
      return dtype;
    case DType::kFloat16:
    case DType::kBFloat16:
      return DType::kFloat32;
    case DType::kInt8:
    case DType::kUInt8:
      return DType::kInt32;
    default:
      return std::nullopt;
  }
}

Result<ValueId> ComparedInput(const OnnxNode& node, size_t index, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId x, builder.Input(node, index));
  const Value& from = builder.at(x);
  const auto dtype = ComparedAs(from.dtype);
  if (!dtype) {
    return Fail(Nerr::kInvalid,
                "{}: tensor '{}' is {}, which cannot be compared; cast it to float32 or int64 "
                "before",
                Describe(node), from.name, DTypeName(from.dtype));
  }
  if (*dtype == from.dtype) return x;
  const ValueId cast = builder.Between(node, fmt::format("compared{}", index), from.shape, *dtype);
  builder.Append(node, Cast{}, {x}, cast);
  return cast;
}

}  // namespace

Result<void> BuildComparison(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(ValueId a, ComparedInput(node, 0, builder));
  NRTD_ASSIGN(ValueId b, ComparedInput(node, 1, builder));
  if (builder.at(a).dtype != builder.at(b).dtype) {
    return Fail(Nerr::kInvalid, "{}: it compares {} with {}", Describe(node),
                DTypeName(builder.at(a).dtype), DTypeName(builder.at(b).dtype));
  }
  NRTD_ASSIGN(Shape shape, Broadcast(node, builder.at(a).shape, builder.at(b).shape));
  NRTD_ASSIGN(const ValueId output, builder.Output(node, DType::kBool, std::move(shape)));
  const bool swapped = node.op_type.starts_with("Greater");
  if (swapped) std::swap(a, b);
  sim::Comparison comparison = sim::Comparison::kLess;
  if (node.op_type == "Equal") comparison = sim::Comparison::kEqual;
  if (node.op_type.ends_with("OrEqual")) comparison = sim::Comparison::kLessOrEqual;
  builder.Append(node, Compare{comparison}, {a, b}, output);
  return {};
}

// In terms of comparison and selection.
Result<void> BuildLogic(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId a, builder.Input(node, 0));
  if (node.op_type == "Not") {
    NRTD_ASSIGN(const ValueId output,
                builder.Output(node, DType::kBool, Shape(builder.at(a).shape)));
    const ValueId no = builder.Constant(node, "false", DType::kBool, {}, ByteVector(1));
    builder.Append(node, Compare{sim::Comparison::kEqual}, {a, no}, output);
    return {};
  }
  NRTD_ASSIGN(const ValueId b, builder.Input(node, 1));
  NRTD_ASSIGN(Shape shape, Broadcast(node, builder.at(a).shape, builder.at(b).shape));
  NRTD_ASSIGN(const ValueId output, builder.Output(node, DType::kBool, std::move(shape)));
  if (node.op_type == "And")
    builder.Append(node, Select{}, {a, b, a}, output);
  else
    builder.Append(node, Select{}, {a, a, b}, output);
  return {};
}

Result<void> BuildWhere(const OnnxNode& node, GraphBuilder& builder) {
  NRTD_ASSIGN(const ValueId condition, builder.Input(node, 0));
  NRTD_ASSIGN(const ValueId a, builder.Input(node, 1));
  NRTD_ASSIGN(const ValueId b, builder.Input(node, 2));
  NRTD_ASSIGN(Shape shape, Broadcast(node, builder.at(a).shape, builder.at(b).shape));
  NRTD_ASSIGN(shape, Broadcast(node, shape, builder.at(condition).shape));
  NRTD_ASSIGN(const ValueId output, builder.Output(node, builder.at(a).dtype, std::move(shape)));
  builder.Append(node, Select{}, {condition, a, b}, output);
  return {};
}

}  // namespace nrtd::compiler
