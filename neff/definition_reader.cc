// SPDX-License-Identifier: Apache-2.0
//
// def.json: variables and queue sets.
#include <algorithm>
#include <set>
#include <utility>

#include "base/npy.h"
#include "neff/subgraph_reader.h"

namespace nrtd::neff {
namespace {

// The public description: 16 or less (and 1 on Inferentia 1, which validator.h checks).
constexpr uint32_t kMaxQueuesInSet = 16;
constexpr size_t kMaxListItems = 65536;

bool NeedsSize(VariableType type) {
  return type != VariableType::kStateBuffer && type != VariableType::kDgeTable &&
         type != VariableType::kOther;
}

Result<ByteSpan> FileData(const Field& field, const Archive& archive, const std::string& path) {
  const auto file = archive.Find(path);
  if (!file)
    return field.Invalid("names '{}', which is not in the NEFF: pack it again with all its files",
                         path);
  if (!path.ends_with(".npy")) return *file;
  auto view = ParseNpy(*file);
  if (!view) return field.Invalid("'{}': {}", path, AsIs(view.error().text));
  return view->data;
}

Result<void> ReadType(const Field& item, Variable& variable) {
  NRTD_ASSIGN(const Field field, item.Get("type"));
  NRTD_ASSIGN(std::string name, field.Text());
  if (name.empty()) return field.Invalid("is empty");
  for (int i = 0; i < static_cast<int>(VariableType::kOther); ++i) {
    variable.type = static_cast<VariableType>(i);
    if (VariableTypeName(variable.type) == name) return {};
  }
  variable.type = VariableType::kOther;
  variable.type_name = std::move(name);
  return {};
}

Result<void> ReadFile(const Field& item, const Archive& archive, const Subgraph& subgraph,
                      Variable& variable) {
  NRTD_ASSIGN(const Field field, item.Get("file_name"));
  NRTD_ASSIGN(variable.file_name, field.Text());
  NRTD_ASSIGN(variable.data, FileData(field, archive, subgraph.PathOf(variable.file_name)));
  if (variable.data.size() > *variable.size) {
    return field.Invalid("'{}' holds {} bytes of data, but its variable has {}", variable.file_name,
                         variable.data.size(), *variable.size);
  }
  return {};
}

Result<Variable> ReadVariable(const Field& item, const Archive& archive, const Subgraph& subgraph) {
  Variable variable;
  variable.name = std::string(item.key());
  NRTD_TRY(ReadType(item, variable));
  NRTD_ASSIGN(const Field id, item.Get("var_id"));
  NRTD_ASSIGN(variable.var_id, id.Uint32());
  NRTD_ASSIGN(variable.size, OptionalUint(item, "size"));
  if (!variable.size && NeedsSize(variable.type)) return item.Invalid("has no \"size\"");
  NRTD_ASSIGN(const std::optional<uint64_t> alignment, OptionalUint(item, "alignment"));
  variable.alignment = alignment.value_or(0);
  if (variable.alignment != 0 && !IsPowerOfTwo(variable.alignment))
    return item.Invalid("alignment {} is not a power of two", variable.alignment);
  NRTD_ASSIGN(variable.fabric_path, TextOr(item, "fabric_path", ""));
  NRTD_ASSIGN(variable.backing_variable_off, OptionalUint(item, "backing_variable_off"));
  NRTD_ASSIGN(variable.referenced_var_id, OptionalUint32(item, "referenced_var_id"));
  NRTD_ASSIGN(variable.list, Uint32ListOrEmpty(item, "list", kMaxListItems));
  if (variable.type == VariableType::kFile) NRTD_TRY(ReadFile(item, archive, subgraph, variable));
  return variable;
}

// Ids are unique, and every id that a variable names is one of them.
Result<void> CheckIds(const Field& var, const std::vector<Variable>& variables) {
  std::set<uint32_t> ids;
  for (const Variable& variable : variables) {
    if (!ids.insert(variable.var_id).second)
      return var.Invalid("var_id {} is used twice, by '{}' too", variable.var_id, variable.name);
  }
  for (const Variable& variable : variables) {
    std::vector<uint32_t> named = variable.list;
    if (variable.referenced_var_id) named.push_back(*variable.referenced_var_id);
    for (const uint32_t id : named) {
      if (!ids.contains(id))
        return var.Invalid("'{}' names var_id {}, which no variable has", variable.name, id);
    }
  }
  return {};
}

Result<QueueSet> ReadQueue(const Field& item, const Limits& limits) {
  QueueSet queue;
  queue.name = std::string(item.key());
  NRTD_ASSIGN(const Field type, item.Get("type"));
  NRTD_ASSIGN(queue.type, type.Text());
  NRTD_ASSIGN(const std::optional<uint32_t> count, OptionalUint32(item, "num_queues"));
  queue.num_queues = count.value_or(1);
  if (queue.num_queues == 0 || queue.num_queues > kMaxQueuesInSet) {
    return item.Invalid("num_queues is {}, expected 1 to {}", queue.num_queues, kMaxQueuesInSet);
  }
  NRTD_ASSIGN(queue.owner, TextOr(item, "owner", ""));
  NRTD_ASSIGN(queue.pinned, FlagOr(item, "pinned", false));
  NRTD_ASSIGN(queue.fabric_path, TextOr(item, "fabric_path", ""));
  NRTD_ASSIGN(queue.semaphore, OptionalUint32(item, "semaphore"));
  NRTD_ASSIGN(queue.semaphore_set, Uint32ListOrEmpty(item, "semaphore_set", kMaxListItems));
  NRTD_ASSIGN(const std::optional<Field> instances, item.Find("queue_instances"));
  if (instances) {
    NRTD_ASSIGN(queue.instances, instances->TextList(limits.max_queues));
  }
  return queue;
}

}  // namespace

Result<std::vector<Variable>> ReadVariables(const Field& root, const Archive& archive,
                                            const Subgraph& subgraph, const Limits& limits) {
  std::vector<Variable> variables;
  NRTD_ASSIGN(const Field var, root.Get("var"));
  NRTD_ASSIGN(const std::vector<Field> members, var.Members(limits.max_variables));
  variables.reserve(members.size());
  for (const Field& member : members) {
    NRTD_ASSIGN(Variable variable, ReadVariable(member, archive, subgraph));
    variables.push_back(std::move(variable));
  }
  NRTD_TRY(CheckIds(var, variables));
  std::ranges::sort(variables, {}, &Variable::var_id);
  return variables;
}

Result<std::vector<QueueSet>> ReadQueues(const Field& root, const Limits& limits) {
  std::vector<QueueSet> queues;
  NRTD_ASSIGN(const std::optional<Field> sets, root.Find("dma_queue"));
  if (!sets) return queues;
  NRTD_ASSIGN(const std::vector<Field> members, sets->Members(limits.max_queues));
  for (const Field& member : members) {
    NRTD_ASSIGN(QueueSet queue, ReadQueue(member, limits));
    queues.push_back(std::move(queue));
  }
  return queues;
}

}  // namespace nrtd::neff
