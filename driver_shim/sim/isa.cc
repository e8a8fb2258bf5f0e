// SPDX-License-Identifier: Apache-2.0
//
// Encoding: StreamHeader {u32 magic, u16 major, u16 minor, u8 engine, u8[3] 0, u32
// instruction_count}, then for each instruction {u16 opcode, u16 0, u32 bytes with this header},
// its fields in the order of Describe(), zeros up to a multiple of 8. Everything little-endian.
#include "driver_shim/sim/isa.h"

#include <algorithm>
#include <concepts>

#include "base/sizes.h"

namespace nrtd::sim {
namespace {

constexpr size_t kStreamHeaderBytes = 16;
constexpr size_t kInstructionHeaderBytes = 8;

template <typename T, typename U>
concept MaybeConst = std::same_as<std::remove_const_t<T>, U>;

// One description of every instruction's fields serves the encoder and the decoder.
template <typename A, MaybeConst<SemaphoreWait> I>
void Describe(A& a, I& i) {
  a(i.semaphore), a(i.value);
}
template <typename A, MaybeConst<SemaphoreSignal> I>
void Describe(A& a, I& i) {
  a(i.semaphore);
}
template <typename A, MaybeConst<DmaTrigger> I>
void Describe(A& a, I& i) {
  a(i.id);
}
template <typename A, MaybeConst<Notify> I>
void Describe(A& a, I& i) {
  a(i.value);
}
template <typename A, MaybeConst<End> I>
void Describe(A&, I&) {}
template <typename A, MaybeConst<Conv2d> I>
void Describe(A& a, I& i) {
  a(i.input), a(i.weights), a(i.bias), a(i.output), a(i.strides), a(i.dilations), a(i.pads),
      a(i.groups);
  a.Enum(i.precision, 2);
  a.Since(1, i.fused);
}
template <typename A, MaybeConst<MatMul> I>
void Describe(A& a, I& i) {
  a(i.a), a(i.b), a(i.bias), a(i.c);
  a.Enum(i.precision, 2);
  a.Since(1, i.fused);
}
template <typename A, MaybeConst<Activation> I>
void Describe(A& a, I& i) {
  a(i.input), a(i.output);
  a.Enum(i.function, kFunctions);
  a(i.alpha), a(i.beta);
}
template <typename A, MaybeConst<Softmax> I>
void Describe(A& a, I& i) {
  a(i.input), a(i.output), a(i.axis);
  a.Since(1, i.scale), a.Since(1, i.mask);
}
template <typename A, MaybeConst<Pool2d> I>
void Describe(A& a, I& i) {
  a(i.input), a(i.output);
  a.Enum(i.kind, kPoolKinds);
  a(i.kernel), a(i.strides), a(i.pads);
}
template <typename A, MaybeConst<Binary> I>
void Describe(A& a, I& i) {
  a(i.a), a(i.b), a(i.output);
  a.Enum(i.function, kBinaryFunctions);
  a.Since(1, i.fused);
}
template <typename A, MaybeConst<Copy> I>
void Describe(A& a, I& i) {
  a(i.input), a(i.output);
}
template <typename A, MaybeConst<LayerNorm> I>
void Describe(A& a, I& i) {
  a(i.input), a(i.scale), a(i.bias), a(i.output), a(i.epsilon);
}
template <typename A, MaybeConst<Gather> I>
void Describe(A& a, I& i) {
  a(i.table), a(i.indices), a(i.output);
}
template <typename A, MaybeConst<Reduce> I>
void Describe(A& a, I& i) {
  a(i.input), a(i.output);
  a.Enum(i.kind, kReductions);
}
template <typename A, MaybeConst<Compare> I>
void Describe(A& a, I& i) {
  a(i.a), a(i.b), a(i.output);
  a.Enum(i.comparison, kComparisons);
}
template <typename A, MaybeConst<Select> I>
void Describe(A& a, I& i) {
  a(i.condition), a(i.a), a(i.b), a(i.output);
}

class Encoder {
 public:
  explicit Encoder(ByteVector& out) : out_(out) {}

  template <typename T>
  requires std::is_arithmetic_v<T>
  void operator()(const T& value) {
    out_.resize(out_.size() + sizeof(T));
    StoreAt(out_, out_.size() - sizeof(T), value);
  }
  template <typename T, size_t N>
  void operator()(const std::array<T, N>& values) {
    for (const T& value : values) (*this)(value);
  }
  template <typename T>
  void operator()(const std::optional<T>& field) {
    (*this)(static_cast<uint8_t>(field.has_value()));
    if (field) (*this)(*field);
  }
  void operator()(const Fused& fused) {
    Enum(fused.function, kFunctions);
    (*this)(fused.alpha), (*this)(fused.beta);
  }
  void operator()(const Operand& operand) {
    (*this)(operand.var_id);
    (*this)(static_cast<uint8_t>(operand.dtype));
    (*this)(static_cast<uint8_t>(operand.dims.size()));
    (*this)(operand.offset);
    for (int64_t dimension : operand.dims) (*this)(dimension);
    for (int64_t stride : operand.strides) (*this)(stride);
  }
  template <typename E>
  void Enum(const E& value, uint8_t) {
    (*this)(static_cast<uint8_t>(value));
  }
  // A field that is there since this minor version.
  template <typename T>
  void Since(uint16_t, const T& field) {
    (*this)(field);
  }

 private:
  ByteVector& out_;
};

class Decoder {
 public:
  Decoder(ByteSpan bytes, uint16_t minor) : bytes_(bytes), minor_(minor) {}

  bool ok() const { return error_.empty(); }
  const std::string& error() const { return error_; }
  size_t consumed() const { return at_; }

  template <typename T>
  requires std::is_arithmetic_v<T>
  void operator()(T& value) {
    if (!ok()) return;
    if (!RangeFits(at_, sizeof(T), bytes_.size())) {
      error_ = fmt::format("the fields need more than its {} bytes", bytes_.size());
      return;
    }
    value = LoadAt<T>(bytes_, at_);
    at_ += sizeof(T);
  }
  template <typename T, size_t N>
  void operator()(std::array<T, N>& values) {
    for (T& value : values) (*this)(value);
  }
  template <typename T>
  void operator()(std::optional<T>& field) {
    uint8_t present = 0;
    (*this)(present);
    if (present > 1)
      error_ = fmt::format("optional field has presence {}, expected 0 or 1", present);
    if (ok() && present == 1) (*this)(field.emplace());
  }
  void operator()(Fused& fused) {
    Enum(fused.function, kFunctions);
    (*this)(fused.alpha), (*this)(fused.beta);
  }
  void operator()(Operand& operand) {
    uint8_t dtype = 0;
    uint8_t rank = 0;
    (*this)(operand.var_id), (*this)(dtype), (*this)(rank), (*this)(operand.offset);
    if (!ok()) return;
    operand.dtype = static_cast<DType>(dtype);
    if (DTypeSize(operand.dtype) == 0)
      error_ = fmt::format("operand has the unknown type {}", dtype);
    if (rank == 0 || rank > kMaxRank)
      error_ = fmt::format("operand has rank {}, expected 1 to {}", rank, kMaxRank);
    if (!ok()) return;
    operand.dims.resize(rank);
    operand.strides.resize(rank);
    for (int64_t& dimension : operand.dims) (*this)(dimension);
    for (int64_t& stride : operand.strides) (*this)(stride);
  }
  template <typename E>
  void Enum(E& value, uint8_t count) {
    uint8_t number = 0;
    (*this)(number);
    if (ok() && number >= count)
      error_ = fmt::format("enumeration value {} is not below {}", number, count);
    value = static_cast<E>(number);
  }
  template <typename T>
  void Since(uint16_t minor, T& field) {
    if (minor_ >= minor) (*this)(field);
  }

 private:
  ByteSpan bytes_;
  uint16_t minor_;  // of the stream
  size_t at_ = 0;
  std::string error_;
};

struct OpcodeRow {
  Opcode opcode;
  std::string_view name;
  std::optional<Engine> engine;  // nothing: every engine
  uint16_t since = 0;            // minor version
};
// In the order of Instruction's alternatives.
constexpr OpcodeRow kOpcodes[] = {
    {Opcode::kSemaphoreWait, "SemaphoreWait", std::nullopt},
    {Opcode::kSemaphoreSignal, "SemaphoreSignal", std::nullopt},
    {Opcode::kDmaTrigger, "DmaTrigger", std::nullopt},
    {Opcode::kNotify, "Notify", std::nullopt},
    {Opcode::kEnd, "End", std::nullopt},
    {Opcode::kConv2d, "Conv2d", Engine::kPe},
    {Opcode::kMatMul, "MatMul", Engine::kPe},
    {Opcode::kActivation, "Activation", Engine::kAct},
    {Opcode::kSoftmax, "Softmax", Engine::kAct},
    {Opcode::kPool2d, "Pool2d", Engine::kPool},
    {Opcode::kBinary, "Binary", Engine::kPool},
    {Opcode::kCopy, "Copy", Engine::kPool},
    {Opcode::kLayerNorm, "LayerNorm", Engine::kAct, 1},
    {Opcode::kGather, "Gather", Engine::kPool, 1},
    {Opcode::kReduce, "Reduce", Engine::kPool, 1},
    {Opcode::kCompare, "Compare", Engine::kPool, 1},
    {Opcode::kSelect, "Select", Engine::kPool, 1},
};
static_assert(std::size(kOpcodes) == std::variant_size_v<Instruction>);

const OpcodeRow* FindOpcode(Opcode opcode) {
  for (const OpcodeRow& row : kOpcodes) {
    if (row.opcode == opcode) return &row;
  }
  return nullptr;
}

// The default-constructed alternative number `index`.
template <size_t N = 0>
Instruction MakeAlternative(size_t index) {
  if constexpr (N + 1 < std::variant_size_v<Instruction>) {
    if (index != N) return MakeAlternative<N + 1>(index);
  }
  return Instruction(std::in_place_index<N>);
}

Result<Instruction> DecodeInstruction(Opcode opcode, Engine engine, ByteSpan fields,
                                      uint16_t minor) {
  const OpcodeRow* row = FindOpcode(opcode);
  if (row == nullptr || row->since > minor)
    return Fail(Nerr::kInvalid, "unknown opcode {}", static_cast<uint16_t>(opcode));
  if (row->engine && *row->engine != engine) {
    return Fail(Nerr::kInvalid, "{} does not run on engine {}", row->name, EngineName(engine));
  }
  Instruction instruction = MakeAlternative(static_cast<size_t>(row - kOpcodes));
  Decoder decoder(fields, minor);
  std::visit([&](auto& alternative) { Describe(decoder, alternative); }, instruction);
  if (!decoder.ok()) return Fail(Nerr::kInvalid, "{}: {}", row->name, decoder.error());
  if (AlignUp(decoder.consumed(), 8) != fields.size()) {
    return Fail(Nerr::kInvalid, "{} has {} bytes of fields, its form needs {}", row->name,
                fields.size(), AlignUp(decoder.consumed(), 8));
  }
  return instruction;
}

}  // namespace

std::string_view EngineName(Engine engine) {
  switch (engine) {
    case Engine::kPe:
      return "pe";
    case Engine::kAct:
      return "act";
    case Engine::kPool:
      return "pool";
  }
  return "unknown";
}

Operand DenseOperand(uint32_t var_id, DType dtype, uint64_t offset, std::vector<int64_t> dims) {
  std::vector<int64_t> strides(dims.size());
  int64_t stride = 1;
  for (size_t i = dims.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= dims[i];
  }
  return {var_id, dtype, offset, std::move(dims), std::move(strides)};
}

Opcode OpcodeOf(const Instruction& instruction) {
  return kOpcodes[instruction.index()].opcode;
}

std::string_view OpcodeName(Opcode opcode) {
  const OpcodeRow* row = FindOpcode(opcode);
  return row != nullptr ? row->name : "unknown";
}

bool RunsOn(Opcode opcode, Engine engine) {
  const OpcodeRow* row = FindOpcode(opcode);
  return row != nullptr && (!row->engine || *row->engine == engine);
}

ByteVector EncodeStream(const Stream& stream) {
  ByteVector out;
  Encoder encode(out);
  encode(kStreamMagic), encode(kIsaMajor), encode(kIsaMinor);
  encode(static_cast<uint8_t>(stream.engine));
  encode(std::array<uint8_t, 3>{});
  encode(static_cast<uint32_t>(stream.instructions.size()));
  for (const Instruction& instruction : stream.instructions) {
    const size_t start = out.size();
    encode(static_cast<uint16_t>(OpcodeOf(instruction)));
    encode(uint16_t{0});
    encode(uint32_t{0});
    std::visit([&](const auto& alternative) { Describe(encode, alternative); }, instruction);
    out.resize(start + AlignUp(out.size() - start, 8));
    StoreAt(out, start + 4, static_cast<uint32_t>(out.size() - start));
  }
  return out;
}

Result<StreamReader> StreamReader::Open(ByteSpan bytes) {
  if (bytes.size() < kStreamHeaderBytes) {
    return Fail(Nerr::kInvalid, "instruction stream of {} bytes is shorter than its header",
                bytes.size());
  }
  if (LoadAt<uint32_t>(bytes, 0) != kStreamMagic)
    return Fail(Nerr::kInvalid, "instruction stream has no NSIM magic");
  const auto major = LoadAt<uint16_t>(bytes, 4);
  const auto minor = LoadAt<uint16_t>(bytes, 6);
  if (major != kIsaMajor || minor > kIsaMinor) {
    return Fail(Nerr::kUnsupportedVersion,
                "instruction stream is version {}.{}, this simulator runs {}.0 to {}.{}", major,
                minor, kIsaMajor, kIsaMajor, kIsaMinor);
  }
  const auto engine = LoadAt<uint8_t>(bytes, 8);
  if (engine >= kEngines)
    return Fail(Nerr::kInvalid, "instruction stream is for the unknown engine {}", engine);
  const auto count = LoadAt<uint32_t>(bytes, 12);
  if (count == 0 || count > kMaxInstructions) {
    return Fail(Nerr::kInvalid, "instruction stream has {} instructions, expected 1 to {}", count,
                kMaxInstructions);
  }
  StreamReader reader(bytes);
  reader.minor_ = minor;
  reader.engine_ = static_cast<Engine>(engine);
  reader.count_ = count;
  reader.at_ = kStreamHeaderBytes;
  return reader;
}

Result<Instruction> StreamReader::Next() {
  const uint32_t i = next_;
  if (!RangeFits(at_, kInstructionHeaderBytes, bytes_.size())) {
    return Fail(Nerr::kInvalid, "{} instruction {}: the stream ends before it", EngineName(engine_),
                i);
  }
  const auto opcode = static_cast<Opcode>(LoadAt<uint16_t>(bytes_, at_));
  const auto size = LoadAt<uint32_t>(bytes_, at_ + 4);
  if (size < kInstructionHeaderBytes || size % 8 != 0 || !RangeFits(at_, size, bytes_.size())) {
    return Fail(Nerr::kInvalid,
                "{} instruction {}: size {} at offset {} does not fit the stream's {} bytes",
                EngineName(engine_), i, size, at_, bytes_.size());
  }
  const ByteSpan fields =
      bytes_.subspan(at_ + kInstructionHeaderBytes, size - kInstructionHeaderBytes);
  auto instruction = DecodeInstruction(opcode, engine_, fields, minor_);
  if (!instruction) {
    return tl::unexpected<Error>(std::move(instruction.error())
                                     .In(fmt::format("{} instruction {}", EngineName(engine_), i)));
  }
  const bool is_end = std::holds_alternative<End>(*instruction);
  if (is_end != (i + 1 == count_)) {
    return Fail(Nerr::kInvalid,
                "{} instruction {}: End must be the last instruction, and only that",
                EngineName(engine_), i);
  }
  at_ += size;
  ++next_;
  if (done() && at_ != bytes_.size()) {
    return Fail(Nerr::kInvalid, "instruction stream has {} bytes behind its last instruction",
                bytes_.size() - at_);
  }
  return instruction;
}

Result<Stream> DecodeStream(ByteSpan bytes) {
  NRTD_ASSIGN(StreamReader reader, StreamReader::Open(bytes));
  Stream stream{reader.engine(), {}};
  while (!reader.done()) {
    NRTD_ASSIGN(Instruction instruction, reader.Next());
    stream.instructions.push_back(std::move(instruction));
  }
  return stream;
}

namespace {

uint64_t SaturatingProduct(std::initializer_list<std::optional<uint64_t>> factors) {
  std::optional<uint64_t> product = 1;
  for (const auto& factor : factors) {
    if (product && factor) product = CheckedMultiply(*product, *factor);
    if (!product || !factor) return UINT64_MAX;
  }
  return *product;
}

// Walks over the fields of an instruction, of which every operand is one.
struct LargestOperand {
  uint64_t elements = 0;
  void operator()(const Operand& operand) {
    elements = std::max(elements, ElementCount(operand.dims).value_or(UINT64_MAX));
  }
  void operator()(const std::optional<Operand>& operand) {
    if (operand) (*this)(*operand);
  }
  template <typename T>
  void operator()(const T&) {}
  template <typename E>
  void Enum(const E&, uint8_t) {}
  template <typename T>
  void Since(uint16_t, const T& field) {
    (*this)(field);
  }
};

}  // namespace

uint64_t WorkOf(const Instruction& instruction) {
  LargestOperand largest;
  std::visit([&](const auto& alternative) { Describe(largest, alternative); }, instruction);
  return std::max({largest.elements, MacCount(instruction), PooledElements(instruction)});
}

uint64_t PooledElements(const Instruction& instruction) {
  const auto* pool = std::get_if<Pool2d>(&instruction);
  if (pool == nullptr) return 0;
  return SaturatingProduct({ElementCount(pool->output.dims), static_cast<uint64_t>(pool->kernel[0]),
                            static_cast<uint64_t>(pool->kernel[1])});
}

uint64_t MacCount(const Instruction& instruction) {
  if (const auto* conv = std::get_if<Conv2d>(&instruction)) {
    const std::span<const int64_t> weights(conv->weights.dims);
    return SaturatingProduct({ElementCount(conv->output.dims), ElementCount(weights.subspan(1))});
  }
  if (const auto* matmul = std::get_if<MatMul>(&instruction)) {
    return SaturatingProduct(
        {ElementCount(matmul->c.dims), static_cast<uint64_t>(matmul->a.dims.back())});
  }
  return 0;
}

}  // namespace nrtd::sim
