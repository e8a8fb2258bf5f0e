// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>
#include <utility>

#include "neff/json_fields.h"
#include "neff/subgraph.h"

namespace nrtd::neff {
namespace {

// A member that is there only if it says something.
template <typename T>
void PutIf(Json& object, const char* key, const std::optional<T>& value) {
  if (value) object[key] = *value;
}
void PutIf(Json& object, const char* key, const std::string& value) {
  if (!value.empty()) object[key] = value;
}
template <typename T>
void PutIf(Json& object, const char* key, const std::vector<T>& values) {
  if (!values.empty()) object[key] = values;
}

Json VariableJson(const Variable& variable) {
  Json json = {{"var_id", variable.var_id}};
  json["type"] = variable.type == VariableType::kOther
                     ? variable.type_name
                     : std::string(VariableTypeName(variable.type));
  if (variable.alignment != 0) json["alignment"] = variable.alignment;
  PutIf(json, "size", variable.size);
  PutIf(json, "file_name", variable.file_name);
  PutIf(json, "fabric_path", variable.fabric_path);
  PutIf(json, "backing_variable_off", variable.backing_variable_off);
  PutIf(json, "referenced_var_id", variable.referenced_var_id);
  PutIf(json, "list", variable.list);
  return json;
}

Json QueueJson(const QueueSet& queue) {
  Json json = {{"type", queue.type}, {"num_queues", queue.num_queues}};
  if (queue.pinned) json["pinned"] = true;
  PutIf(json, "owner", queue.owner);
  PutIf(json, "fabric_path", queue.fabric_path);
  PutIf(json, "semaphore", queue.semaphore);
  PutIf(json, "semaphore_set", queue.semaphore_set);
  PutIf(json, "queue_instances", queue.instances);
  return json;
}

void PutPattern(Json& object, const std::string& prefix, const Subgraph& subgraph,
                const AccessPattern& pattern) {
  object[prefix] = subgraph.variables.at(pattern.variable).name;
  object[prefix + "_off"] = pattern.offset;
  object[prefix + "_steps"] = pattern.steps;
  object[prefix + "_sizes"] = pattern.sizes;
}

Json TriggerJson(const Subgraph& subgraph, const DmaTrigger& trigger) {
  Json desc = Json::object();
  if (trigger.desc.op != "copy") desc["op"] = trigger.desc.op;
  PutPattern(desc, "to", subgraph, trigger.desc.to);
  if (trigger.desc.from_array.empty()) {
    PutPattern(desc, "from", subgraph, trigger.desc.from);
  } else {
    for (const AccessPattern& from : trigger.desc.from_array) {
      Json source = Json::object();
      PutPattern(source, "from", subgraph, from);
      desc["from_arr"].push_back(std::move(source));
    }
  }
  Json json = {{"id", trigger.id}};
  json[trigger.by_instance ? "instance_name" : "queue"] = trigger.queue;
  PutIf(json, "semaphore", trigger.semaphore);
  PutIf(json, "event", trigger.event);
  json["desc"] = std::move(desc);
  return json;
}

}  // namespace

Result<std::string> SerializeDefinition(const Subgraph& subgraph) {
  Json json = {{"name", "definition"}, {"version", subgraph.version}};
  json["var"] = Json::object();
  for (const Variable& variable : subgraph.variables)
    json["var"][variable.name] = VariableJson(variable);
  json["dma_queue"] = Json::object();
  for (const QueueSet& queue : subgraph.queues) json["dma_queue"][queue.name] = QueueJson(queue);
  for (const EngineProgram& engine : subgraph.engines) {
    json[engine.engine] = engine.json_file;
    json[engine.engine + "_instr"] = engine.instruction_file;
  }
  return DumpJson(json, subgraph.definition, 2);
}

Result<std::string> SerializeEngine(const Subgraph& subgraph, const EngineProgram& engine) {
  const std::string path = subgraph.PathOf(engine.json_file);
  Json json = {{"name", engine.json_file}, {"instr", engine.instruction_file}};
  json["dma"] = Json::array();
  try {
    for (const DmaTrigger& trigger : engine.dma)
      json["dma"].push_back(TriggerJson(subgraph, trigger));
  } catch (const std::out_of_range&) {
    return Fail(Nerr::kInvalid, "{}: a descriptor names a variable that does not exist", path);
  }
  for (const Lookup& lookup : engine.lookups) {
    json["lookups"].push_back(
        {{"instruction", lookup.instruction}, {"node", lookup.node}, {"tensor", lookup.tensor}});
  }
  return DumpJson(json, path, -1);
}

}  // namespace nrtd::neff
