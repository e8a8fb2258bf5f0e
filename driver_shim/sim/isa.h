// SPDX-License-Identifier: Apache-2.0
//
// The instruction set of the simulated NeuronCore, version 1.1: what neuron-cc writes and the
// simulated core runs. The encoding is documented in docs/sim-isa.md and is ours; real Inferentia
// binaries are something else.
//
// A program is three streams, one an engine (PE, ACT, POOL), each a StreamHeader and then
// instructions. The engines start together at an execution, run their own stream in order, and meet
// only through semaphores. All 32 semaphores are 0 when an execution starts. An execution is
// complete when all three streams have reached End; a stream without work is just End.
//
// Operands are parts of the subgraph's variables (def.json): `file` variables are read-only
// weights, `tmp-buf` variables may be read and written. `input` and `output` variables live in host
// memory and can be touched by DMA only: a program copies them with the descriptors of its engine
// JSONs, which DmaTrigger sets off.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/dtype.h"
#include "base/error.h"

namespace nrtd::sim {

inline constexpr uint32_t kStreamMagic = 0x4d49534eU;  // "NSIM"
inline constexpr uint16_t kIsaMajor = 1;
inline constexpr uint16_t kIsaMinor = 1;  // 1.0 had no Gather, Reduce, ... (docs/sim-isa.md)

inline constexpr uint32_t kSemaphores = 32;  // a core has as many as the real one
inline constexpr size_t kMaxRank = 6;
inline constexpr uint32_t kMaxInstructions = 1U << 20;  // a stream; BERT-Large needs about 2,000

enum class Engine : uint8_t { kPe = 0, kAct = 1, kPool = 2 };
inline constexpr size_t kEngines = 3;
// "pe", "act", "pool": the keys of def.json.
std::string_view EngineName(Engine engine);

// A strided view into a variable. Element (i0, i1, ...) lies at byte offset + sum(i_k * strides[k])
// * DTypeSize(dtype). Strides count elements and are >= 0; 0 repeats an element and is allowed only
// in inputs. Written operands must not overlap themselves; one that overlaps an input, other than
// in place, ends up with values that are not defined. offset is a multiple of the element's size.
// dims.size() == strides.size() <= kMaxRank, every dimension >= 1; rank 0 is not used, a scalar is
// [1].
struct Operand {
  uint32_t var_id = 0;
  DType dtype = DType::kFloat32;
  uint64_t offset = 0;
  std::vector<int64_t> dims;
  std::vector<int64_t> strides;

  bool operator==(const Operand&) const = default;
};

// A dense row-major operand.
Operand DenseOperand(uint32_t var_id, DType dtype, uint64_t offset, std::vector<int64_t> dims);

// Control, every engine
// ------------------------------------------------------------------------------------------------

// Blocks this engine until semaphore >= value.
struct SemaphoreWait {
  uint8_t semaphore = 0;
  uint32_t value = 0;
  bool operator==(const SemaphoreWait&) const = default;
};

// semaphore += 1, once everything this engine did before is visible to the others.
struct SemaphoreSignal {
  uint8_t semaphore = 0;
  bool operator==(const SemaphoreSignal&) const = default;
};

// Sets off all descriptors with this id in the engine's JSON, in their order there. Does not wait
// for them: the descriptor's semaphore (one increment for each entry of the JSON's `dma` list) says
// that its data has arrived.
struct DmaTrigger {
  uint32_t id = 0;
  bool operator==(const DmaTrigger&) const = default;
};

// Puts `value` into the core's explicit notification queue. For tracing; completion needs no
// Notify.
struct Notify {
  uint32_t value = 0;
  bool operator==(const Notify&) const = default;
};

// The last instruction of every stream.
struct End {
  bool operator==(const End&) const = default;
};

// PE
// -------------------------------------------------------------------------------------------------------------------

// What an engine does to an element.
enum class Function : uint8_t {
  kRelu = 0,       // max(x, 0)
  kLeakyRelu = 1,  // x > 0 ? x : alpha x
  kClip = 2,       // min(max(x, alpha), beta)
  kSigmoid = 3,
  kTanh = 4,
  kExp = 5,
  kLog = 6,
  kSqrt = 7,
  kAbs = 8,
  kGeluErf = 9,  // x/2 (1 + erf(x / sqrt 2))
  kLinear = 10,  // alpha x + beta
  kErf = 11,     // since 1.1, like all that follow
  kFloor = 12,
  kCeil = 13,
  kElu = 14,        // x > 0 ? x : alpha (exp(x) - 1)
  kSoftplus = 15,   // log(1 + exp(x))
  kReciprocal = 16  // 1 / x
};
inline constexpr uint8_t kFunctions = 17;

// A function on the way out of PE, applied to sums with their bias, or of POOL.
struct Fused {
  Function function = Function::kRelu;
  float alpha = 0;
  float beta = 0;
  bool operator==(const Fused&) const = default;
};

// How PE multiplies. kBFloat16: both operands rounded to bfloat16 (nearest even), products
// accumulated in float32.
enum class Precision : uint8_t { kFloat32 = 0, kBFloat16 = 1 };

// output[N,O,Y,X] = conv(input[N,C,H,W], weights[O,C/groups,KH,KW]) + bias[O]. Cross-correlation,
// zero padding. input and output are float32, weights float32 or bfloat16 in a `file` variable,
// bias float32.
struct Conv2d {
  Operand input;
  Operand weights;
  std::optional<Operand> bias;
  Operand output;
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 2> dilations{1, 1};   // 1: dense
  std::array<int64_t, 4> pads{0, 0, 0, 0};  // top, left, bottom, right
  int64_t groups = 1;
  Precision precision = Precision::kFloat32;
  std::optional<Fused> fused = {};  // since 1.1
  bool operator==(const Conv2d&) const = default;
};

// c[...,M,N] = a[...,M,K] x b[...,K,N] + bias. All ranks are equal and >= 2; leading dimensions of
// a and b are those of c or 1. A transposed operand is one with swapped strides. a and c are
// float32; b is float32, or bfloat16 in a `file` variable; bias is float32 of c's rank with every
// dimension that of c or 1.
struct MatMul {
  Operand a;
  Operand b;
  std::optional<Operand> bias;
  Operand c;
  Precision precision = Precision::kFloat32;
  std::optional<Fused> fused = {};  // since 1.1
  bool operator==(const MatMul&) const = default;
};

// ACT
// ------------------------------------------------------------------------------------------------------------------

// output = function(input), element by element; equal dims, float32. May work in place (same
// operand twice).
struct Activation {
  Operand input;
  Operand output;
  Function function = Function::kRelu;
  float alpha = 0;
  float beta = 0;
  bool operator==(const Activation&) const = default;
};

// output = exp(z - max) / sum over one axis, of z = scale x input + mask: what attention does with
// its scores. Equal dims, float32; every dimension of the mask is that of output or 1. May work in
// place.
struct Softmax {
  Operand input;
  Operand output;
  int64_t axis = 0;                  // 0 <= axis < rank
  float scale = 1;                   // since 1.1
  std::optional<Operand> mask = {};  // since 1.1
  bool operator==(const Softmax&) const = default;
};

// output = (input - mean) / sqrt(variance + epsilon) x scale + bias over the last axis; equal dims,
// float32; scale and bias [that dimension]. May work in place. Since 1.1.
struct LayerNorm {
  Operand input;
  std::optional<Operand> scale;
  std::optional<Operand> bias;
  Operand output;
  float epsilon = 0;
  bool operator==(const LayerNorm&) const = default;
};

// POOL
// -----------------------------------------------------------------------------------------------------------------

enum class PoolKind : uint8_t {
  kMax = 0,
  kAverageExcludePad = 1,  // divides by the elements under the window
  kAverageIncludePad = 2,  // divides by the window's size
};
inline constexpr uint8_t kPoolKinds = 3;

// output[N,C,Y,X] = pool(input[N,C,H,W]); float32. Padding elements never win a maximum.
struct Pool2d {
  Operand input;
  Operand output;
  PoolKind kind = PoolKind::kMax;
  std::array<int64_t, 2> kernel{1, 1};
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 4> pads{0, 0, 0, 0};  // top, left, bottom, right
  bool operator==(const Pool2d&) const = default;
};

enum class BinaryFunction : uint8_t {
  kAdd = 0,
  kSubtract = 1,
  kMultiply = 2,
  kDivide = 3,
  kMaximum = 4,
  kMinimum = 5,
  kPower = 6  // since 1.1
};
inline constexpr uint8_t kBinaryFunctions = 7;

// output = a (function) b; equal ranks, one type: float32, or, since 1.1, int32 or int64 (which
// wrap around, divide towards zero, and give 0 for a division by 0). a has output's dims; every
// dimension of b is that of output or 1 (repeated). Where a must be repeated, Copy it first (an
// input stride of 0). May work in place on a.
struct Binary {
  Operand a;
  Operand b;
  Operand output;
  BinaryFunction function = BinaryFunction::kAdd;
  std::optional<Fused> fused = {};  // since 1.1; of float32 only
  bool operator==(const Binary&) const = default;
};

// output = input, element by element; equal dims, any strides. Equal dtypes of any kind, or a cast
// between any two of float32, bfloat16, float16, float64, int8, uint8, int32, int64 and bool (1.0:
// between float32 and bfloat16). A float that the integer cannot hold becomes the nearest that it
// can, NaN 0; an integer wraps around, as in ONNX Runtime; bool is 0 or 1. This is reshape,
// transpose, slice, concat, broadcast and cast.
struct Copy {
  Operand input;
  Operand output;
  bool operator==(const Copy&) const = default;
};

// output[o,i,k] = table[o,indices[i],k]: rows of a table. table [O,N,K] and output [O,I,K] of one
// type, indices [I] of int32 or int64 in -N to N-1, negative ones counting from the end. Another
// index ends the execution with an error. Since 1.1.
struct Gather {
  Operand table;
  Operand indices;
  Operand output;
  bool operator==(const Gather&) const = default;
};

enum class Reduction : uint8_t { kMean = 0, kSum = 1, kMaximum = 2, kMinimum = 3, kProduct = 4 };
inline constexpr uint8_t kReductions = 5;

// output = the reduction of input over the dimensions in which output has 1; equal ranks, float32.
// Since 1.1.
struct Reduce {
  Operand input;
  Operand output;
  Reduction kind = Reduction::kMean;
  bool operator==(const Reduce&) const = default;
};

enum class Comparison : uint8_t { kEqual = 0, kLess = 1, kLessOrEqual = 2 };
inline constexpr uint8_t kComparisons = 3;

// output = a (comparison) b as bool; equal dims; a and b of one type: float32, int32, int64 or
// bool. Since 1.1.
struct Compare {
  Operand a;
  Operand b;
  Operand output;
  Comparison comparison = Comparison::kEqual;
  bool operator==(const Compare&) const = default;
};

// output = condition ? a : b, element by element; equal dims; condition is bool, the others of one
// type. Since 1.1.
struct Select {
  Operand condition;
  Operand a;
  Operand b;
  Operand output;
  bool operator==(const Select&) const = default;
};

// The alternatives' order is not the encoding; opcodes are (see OpcodeOf).
using Instruction = std::variant<SemaphoreWait, SemaphoreSignal, DmaTrigger, Notify, End, Conv2d,
                                 MatMul, Activation, Softmax, Pool2d, Binary, Copy, LayerNorm,
                                 Gather, Reduce, Compare, Select>;

// The numbers stand in NEFFs: never renumber.
enum class Opcode : uint16_t {
  kSemaphoreWait = 1,
  kSemaphoreSignal = 2,
  kDmaTrigger = 3,
  kNotify = 4,
  kEnd = 5,
  kConv2d = 16,
  kMatMul = 17,
  kActivation = 32,
  kSoftmax = 33,
  kLayerNorm = 34,
  kPool2d = 48,
  kBinary = 49,
  kCopy = 50,
  kGather = 51,
  kReduce = 52,
  kCompare = 53,
  kSelect = 54,
};
Opcode OpcodeOf(const Instruction& instruction);
std::string_view OpcodeName(Opcode opcode);
// Control instructions run on every engine, tensor instructions on one.
bool RunsOn(Opcode opcode, Engine engine);

struct Stream {
  Engine engine = Engine::kPe;
  std::vector<Instruction> instructions;
  bool operator==(const Stream&) const = default;
};

// Never fails for a stream that Validate() accepts.
ByteVector EncodeStream(const Stream& stream);

// kInvalid with the instruction's index and what is wrong. Checks the form only: magic, version,
// sizes, enumerations, ranks, that exactly the last instruction is End, that every opcode runs on
// the stream's engine.
Result<Stream> DecodeStream(ByteSpan bytes);

// The same, one instruction after the other, so that a program of many need not be in memory in
// this form.
class StreamReader {
 public:
  // The header. `bytes` outlive the reader. Errors of DecodeStream().
  static Result<StreamReader> Open(ByteSpan bytes);

  Engine engine() const { return engine_; }
  uint32_t count() const { return count_; }
  bool done() const { return next_ == count_; }
  // Not done(). Errors of DecodeStream(); with the last instruction, that nothing follows it.
  Result<Instruction> Next();

 private:
  explicit StreamReader(ByteSpan bytes) : bytes_(bytes) {}

  ByteSpan bytes_;
  uint16_t minor_ = 0;
  Engine engine_ = Engine::kPe;
  uint32_t count_ = 0;
  uint32_t next_ = 0;
  size_t at_ = 0;
};

// What Validate() needs to know of the program's surroundings.
struct VariableInfo {
  uint32_t var_id = 0;
  uint64_t size = 0;
  bool readable = true;   // false for `input` and `output` variables: only DMA touches them
  bool writable = false;  // true for tmp-buf
};
struct ProgramContext {
  std::vector<VariableInfo> variables;
  std::array<std::vector<uint32_t>, kEngines> dma_ids;  // the ids that each engine's JSON lists
};

// Checks one decoded stream against its surroundings: every operand inside its variable, aligned,
// readable or writable as it is used, shapes and types that fit the instruction, semaphores and DMA
// ids that exist. kInvalid with the engine, the instruction's index, the operand, and the numbers.
// Whoever runs a program without this check is wrong. Errors of CheckWanted(stop).
Result<void> Validate(const Stream& stream, const ProgramContext& context,
                      const std::stop_token& stop = {});

// The same, one instruction after the other. `context` outlives it.
class StreamValidator;
class Validator {
 public:
  Validator(const ProgramContext& context, Engine engine);
  ~Validator();
  // The stream's instruction number `index`.
  Result<void> Check(const Instruction& instruction, size_t index);

 private:
  const Engine engine_;
  const std::unique_ptr<StreamValidator> validator_;
};

// What one instruction may ask for: as many elements an operand as a device has memory for, and
// products, or elements under windows of a pooling, for a minute of one CPU. It is cut into pieces,
// between which the core looks whether it shall stop (kernels/work.h); an instruction that cannot
// be cut is refused when it is loaded.
inline constexpr uint64_t kMaxElements = uint64_t{1} << 31;
inline constexpr uint64_t kMaxMacs = uint64_t{1} << 40;
inline constexpr uint64_t kMaxPooled = uint64_t{1} << 34;

// Elements of the largest operand, or products or elements under windows if there are more of
// those.
uint64_t WorkOf(const Instruction& instruction);

// Multiply-accumulates of one instruction; 0 where nothing is multiplied, UINT64_MAX for more than
// that.
uint64_t MacCount(const Instruction& instruction);

// Elements under all windows of a pooling, those in the padding included; 0 for any other
// instruction, UINT64_MAX for more than that.
uint64_t PooledElements(const Instruction& instruction);

}  // namespace nrtd::sim
