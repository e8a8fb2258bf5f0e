// SPDX-License-Identifier: Apache-2.0
//
// An engine's JSON file: the DMA descriptors that the engine triggers.
#include <utility>

#include "neff/subgraph_reader.h"

namespace nrtd::neff {
namespace {

constexpr size_t kMaxSources = 16;  // of an arithmetic operation: the public description

}  // namespace

struct EngineReader::PatternKeys {
  std::string_view variable, offset, steps, sizes;
};

EngineReader::EngineReader(const Archive& archive, const Subgraph& subgraph, const Limits& limits)
    : archive_(archive), subgraph_(subgraph), limits_(limits) {
  for (uint32_t i = 0; i < subgraph.variables.size(); ++i)
    variables_.emplace(subgraph.variables[i].name, i);
  for (const QueueSet& queue : subgraph.queues) {
    queues_.emplace(queue.name, false);
    for (const std::string& instance : queue.instances) queues_.emplace(instance, true);
  }
}

Result<EngineProgram> EngineReader::Read(std::string_view engine, const std::string& json_file,
                                         const std::string& instruction_file) {
  EngineProgram program;
  program.engine = std::string(engine);
  program.json_file = json_file;
  program.instruction_file = instruction_file;
  const std::string json_path = subgraph_.PathOf(json_file);
  const std::string instruction_path = subgraph_.PathOf(instruction_file);
  for (const std::string& path : {json_path, instruction_path}) {
    if (!archive_.Find(path)) {
      return Fail(
          Nerr::kInvalid,
          "{}: engine \"{}\" names '{}', which is not in the NEFF: pack it again with all its "
          "files",
          subgraph_.definition, engine, path);
    }
  }
  program.instructions = Blob::View(*archive_.Find(instruction_path));
  NRTD_ASSIGN(const Json document, ParseJson(*archive_.Find(json_path), json_path, limits_));
  const Field root(json_path, document);
  NRTD_TRY(ReadTransfers(root, program));
  NRTD_TRY(ReadLookups(root, program));
  return program;
}

Result<void> EngineReader::ReadTransfers(const Field& root, EngineProgram& program) {
  NRTD_ASSIGN(const std::optional<Field> dma, root.Find("dma"));
  if (!dma) return {};
  NRTD_ASSIGN(const std::vector<Field> items, dma->Items(limits_.max_descriptors - descriptors_));
  descriptors_ += items.size();
  program.dma.reserve(items.size());
  for (const Field& item : items) {
    NRTD_ASSIGN(DmaTrigger trigger, ReadTrigger(item));
    program.dma.push_back(std::move(trigger));
  }
  return {};
}

Result<void> EngineReader::ReadLookups(const Field& root, EngineProgram& program) {
  NRTD_ASSIGN(const std::optional<Field> lookups, root.Find("lookups"));
  if (!lookups) return {};
  NRTD_ASSIGN(const std::vector<Field> items, lookups->Items(kMaxLookups));
  for (const Field& item : items) {
    Lookup lookup;
    NRTD_ASSIGN(const Field instruction, item.Get("instruction"));
    NRTD_ASSIGN(lookup.instruction, instruction.Uint32());
    NRTD_ASSIGN(lookup.node, TextOr(item, "node", ""));
    NRTD_ASSIGN(lookup.tensor, TextOr(item, "tensor", ""));
    program.lookups.push_back(std::move(lookup));
  }
  return {};
}

Result<DmaTrigger> EngineReader::ReadTrigger(const Field& item) const {
  DmaTrigger trigger;
  NRTD_ASSIGN(const Field id, item.Get("id"));
  NRTD_ASSIGN(trigger.id, id.Uint32());
  NRTD_TRY(ReadQueueName(item, trigger));
  NRTD_ASSIGN(trigger.semaphore, OptionalUint32(item, "semaphore"));
  NRTD_ASSIGN(trigger.event, OptionalUint32(item, "event"));
  NRTD_ASSIGN(const Field desc, item.Get("desc"));
  NRTD_ASSIGN(trigger.desc, ReadDescriptor(desc));
  return trigger;
}

Result<void> EngineReader::ReadQueueName(const Field& item, DmaTrigger& trigger) const {
  NRTD_ASSIGN(trigger.queue, TextOr(item, "instance_name", ""));
  trigger.by_instance = !trigger.queue.empty();
  if (!trigger.by_instance) {
    NRTD_ASSIGN(const Field queue, item.Get("queue"));
    NRTD_ASSIGN(trigger.queue, queue.Text());
  }
  const auto at = queues_.find(trigger.queue);
  if (at == queues_.end() || at->second != trigger.by_instance) {
    return item.Invalid("the queue \"{}\" is not declared in {}", trigger.queue,
                        subgraph_.definition);
  }
  return {};
}

Result<Descriptor> EngineReader::ReadDescriptor(const Field& desc) const {
  static constexpr PatternKeys kFrom = {"from", "from_off", "from_steps", "from_sizes"};
  static constexpr PatternKeys kTo = {"to", "to_off", "to_steps", "to_sizes"};
  Descriptor descriptor;
  NRTD_ASSIGN(descriptor.op, TextOr(desc, "op", "copy"));
  NRTD_ASSIGN(descriptor.to, ReadPattern(desc, kTo));
  NRTD_ASSIGN(const std::optional<Field> sources, desc.Find("from_arr"));
  if (sources) {
    NRTD_ASSIGN(const std::vector<Field> items, sources->Items(kMaxSources));
    for (const Field& item : items) {
      NRTD_ASSIGN(AccessPattern from, ReadPattern(item, kFrom));
      descriptor.from_array.push_back(std::move(from));
    }
    if (!descriptor.from_array.empty()) return descriptor;
  }
  NRTD_ASSIGN(descriptor.from, ReadPattern(desc, kFrom));
  if (descriptor.op == "copy") {
    NRTD_ASSIGN(const uint64_t from_bytes, BytesMoved(descriptor.from));
    NRTD_ASSIGN(const uint64_t to_bytes, BytesMoved(descriptor.to));
    if (from_bytes != to_bytes)
      return desc.Invalid("copies {} bytes to a place of {}", from_bytes, to_bytes);
  }
  return descriptor;
}

Result<AccessPattern> EngineReader::ReadPattern(const Field& object,
                                                const PatternKeys& keys) const {
  AccessPattern pattern;
  NRTD_ASSIGN(const Field variable_field, object.Get(keys.variable));
  NRTD_ASSIGN(const std::string name, variable_field.Text());
  const auto at = variables_.find(name);
  if (at == variables_.end()) {
    return variable_field.Invalid("the variable \"{}\" is not declared in {}", name,
                                  subgraph_.definition);
  }
  pattern.variable = at->second;
  NRTD_ASSIGN(const Field offset, object.Get(keys.offset));
  NRTD_ASSIGN(pattern.offset, offset.Uint());
  NRTD_ASSIGN(const Field steps_field, object.Get(keys.steps));
  NRTD_ASSIGN(const std::vector<Field> steps, steps_field.Items(kMaxPatternDimensions));
  for (const Field& step : steps) {
    NRTD_ASSIGN(const int64_t number, step.Int());
    pattern.steps.push_back(number);
  }
  NRTD_ASSIGN(const Field sizes_field, object.Get(keys.sizes));
  NRTD_ASSIGN(const std::vector<Field> sizes, sizes_field.Items(kMaxPatternDimensions));
  for (const Field& size : sizes) {
    NRTD_ASSIGN(const uint64_t number, size.Uint());
    pattern.sizes.push_back(number);
  }
  const auto extent = ExtentOf(pattern);
  if (!extent) return sizes_field.Invalid("{}", AsIs(extent.error().text));
  const Variable& variable = subgraph_.variables[pattern.variable];
  if (!variable.size && variable.type != VariableType::kStateBuffer)
    return variable_field.Invalid("the variable \"{}\" has no size", name);
  if (variable.size && extent->end > *variable.size) {
    return variable_field.Invalid("reaches byte {} of the variable \"{}\", which has {} bytes",
                                  extent->end - 1, name, *variable.size);
  }
  return pattern;
}

}  // namespace nrtd::neff
