// SPDX-License-Identifier: Apache-2.0
#include "neff/subgraph.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "neff/subgraph_reader.h"

namespace nrtd::neff {
namespace {

template <typename T, typename Member>
const T* FindBy(const std::vector<T>& items, Member member, std::string_view value) {
  const auto at = std::ranges::find(items, value, member);
  return at == items.end() ? nullptr : &*at;
}

}  // namespace

std::string_view VariableTypeName(VariableType type) {
  switch (type) {
    case VariableType::kStateBuffer:
      return "state-buffer";
    case VariableType::kInput:
      return "input";
    case VariableType::kOutput:
      return "output";
    case VariableType::kFile:
      return "file";
    case VariableType::kTmpBuf:
      return "tmp-buf";
    case VariableType::kVirtual:
      return "virtual";
    case VariableType::kPointer:
      return "pointer";
    case VariableType::kDgeTable:
      return "dge-table";
    case VariableType::kOther:
      return "";
  }
  return "";
}

bool Variable::operator==(const Variable& other) const {
  const auto values = [](const Variable& v) {
    return std::tie(v.name, v.type, v.type_name, v.var_id, v.size, v.alignment, v.file_name,
                    v.fabric_path, v.backing_variable_off, v.referenced_var_id, v.list);
  };
  return values(*this) == values(other);
}

const Variable* Subgraph::FindVariable(std::string_view variable_name) const {
  return FindBy(variables, &Variable::name, variable_name);
}
const QueueSet* Subgraph::FindQueue(std::string_view queue_name) const {
  return FindBy(queues, &QueueSet::name, queue_name);
}
const EngineProgram* Subgraph::FindEngine(std::string_view engine_name) const {
  return FindBy(engines, &EngineProgram::engine, engine_name);
}

std::string Subgraph::PathOf(std::string_view file_name) const {
  const size_t slash = definition.rfind('/');
  if (slash == std::string::npos) return std::string(file_name);
  return definition.substr(0, slash + 1).append(file_name);
}

Result<Subgraph> ReadSubgraph(const Archive& archive, const std::string& name,
                              const std::string& definition, const Limits& limits) {
  const auto file = archive.Find(definition);
  if (!file) {
    return Fail(
        Nerr::kInvalid,
        "subgraph \"{}\" names '{}', which is not in the NEFF: pack it again with all its files",
        name, definition);
  }
  NRTD_ASSIGN(const Json document, ParseJson(*file, definition, limits));
  const Field root(definition, document);
  Subgraph subgraph;
  subgraph.name = name;
  subgraph.definition = definition;
  NRTD_ASSIGN(subgraph.version, TextOr(root, "version", ""));
  NRTD_ASSIGN(subgraph.variables, ReadVariables(root, archive, subgraph, limits));
  NRTD_ASSIGN(subgraph.queues, ReadQueues(root, limits));
  EngineReader engines(archive, subgraph, limits);
  for (const std::string_view engine : kEngineNames) {
    const std::string instruction_key = fmt::format("{}_instr", engine);
    NRTD_ASSIGN(const std::string json_file, TextOr(root, engine, ""));
    NRTD_ASSIGN(const std::string instruction_file, TextOr(root, instruction_key, ""));
    if (json_file.empty() && instruction_file.empty()) continue;
    if (json_file.empty() || instruction_file.empty()) {
      return root.Invalid("has only one of \"{}\" and \"{}\"", engine, instruction_key);
    }
    NRTD_ASSIGN(EngineProgram program, engines.Read(engine, json_file, instruction_file));
    subgraph.engines.push_back(std::move(program));
  }
  return subgraph;
}

}  // namespace nrtd::neff
