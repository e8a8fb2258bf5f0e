// SPDX-License-Identifier: Apache-2.0
//
// What runs on one core: def.json (variables, queues, engines) and the engines' JSON files
// (descriptors) as values. The fields' meaning: the public description of NEFF files
// (neuron-runtime/explore/work-with-neff-files.rst in aws-neuron/aws-neuron-sdk).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "neff/access_pattern.h"
#include "neff/archive.h"
#include "neff/blob.h"
#include "neff/limits.h"

namespace nrtd::neff {

// Keys of def.json: "pe": "PE.json", "pe_instr": "PE.bin". sp and dve came after Inferentia 1.
inline constexpr std::array<std::string_view, 5> kEngineNames = {"pe", "act", "pool", "sp", "dve"};

enum class VariableType {
  kStateBuffer,  // on the core; need not declare a size
  kInput,
  kOutput,
  kFile,      // constants, filled from file_name
  kTmpBuf,    // scratch memory of this network
  kVirtual,   // at backing_variable_off in scratch memory that networks share
  kPointer,   // the address of referenced_var_id
  kDgeTable,  // addresses of the variables in `list`; has no size
  kOther,     // a type we do not know: Variable::type_name says which
};
std::string_view VariableTypeName(VariableType type);  // "state-buffer"; "" for kOther

struct Variable {
  std::string name;
  VariableType type = VariableType::kTmpBuf;
  std::string type_name;         // set for kOther only
  uint32_t var_id = 0;           // unique in the subgraph
  std::optional<uint64_t> size;  // bytes; always there but for kStateBuffer, kDgeTable and kOther
  uint64_t alignment = 0;        // a power of two, or 0 for none
  std::string file_name;         // kFile: relative to the folder of def.json
  std::string fabric_path;       // "main", "alt" or ""
  std::optional<uint64_t> backing_variable_off;  // kVirtual
  std::optional<uint32_t> referenced_var_id;     // kPointer
  std::vector<uint32_t> list;                    // kDgeTable: var_ids

  // kFile, after reading: what to put into the variable (the elements of an .npy file, the whole of
  // any other), at most `size` bytes, valid as long as the Neff. The writer does not look at it and
  // takes the file from NeffContents::files.
  ByteSpan data;

  bool operator==(const Variable& other) const;  // of everything but data
};

struct QueueSet {
  std::string name;
  std::string type;  // "in", "out", "data", "embedding_update", "dynamic"
  uint32_t num_queues = 1;
  std::string owner;  // the engine that rings the doorbell, or ""
  bool pinned = false;
  std::string fabric_path;
  std::optional<uint32_t> semaphore;
  std::vector<uint32_t> semaphore_set;
  std::vector<std::string> instances;  // queue_instances

  bool operator==(const QueueSet&) const = default;
};

// One transfer. `from_array` replaces `from` for the arithmetic operations of later chips.
struct Descriptor {
  std::string op = "copy";
  AccessPattern from;
  AccessPattern to;
  std::vector<AccessPattern> from_array;

  bool operator==(const Descriptor&) const = default;
};

// A descriptor that an engine starts by the number `id`; several may share one.
struct DmaTrigger {
  uint32_t id = 0;
  std::string queue;                  // the name of a QueueSet, or of an instance of one
  bool by_instance = false;           // `queue` is an instance's name
  std::optional<uint32_t> semaphore;  // incremented when the transfer has ended
  std::optional<uint32_t> event;      // set when the transfer has ended
  Descriptor desc;

  bool operator==(const DmaTrigger&) const = default;
};

// Of an engine; further ones go without names.
inline constexpr size_t kMaxLookups = 1024;

// An instruction that looks values up in a table, for the message when a value is outside of it. Of
// this project's NEFFs: the key "lookups" of an engine's JSON.
struct Lookup {
  uint32_t instruction = 0;  // its index in the engine's stream
  std::string node;          // of the model
  std::string tensor;        // that holds the indices

  bool operator==(const Lookup&) const = default;
};

struct EngineProgram {
  std::string engine;            // one of kEngineNames
  std::string json_file;         // "PE.json", relative to the folder of def.json
  std::string instruction_file;  // "PE.bin"
  Blob instructions;             // borrowed from the Neff after reading
  std::vector<DmaTrigger> dma;
  std::vector<Lookup> lookups = {};  // by rising instruction; may be missing

  bool operator==(const EngineProgram&) const = default;
};

struct Subgraph {
  std::string name;                    // "sg00"
  std::string definition;              // "sg00/def.json"
  std::string version;                 // of def.json
  std::vector<Variable> variables;     // by rising var_id
  std::vector<QueueSet> queues;        // by rising name
  std::vector<EngineProgram> engines;  // in the order of kEngineNames; those that are there

  // nullptr if there is none. Linear: build a map if you ask often.
  const Variable* FindVariable(std::string_view variable_name) const;
  const QueueSet* FindQueue(std::string_view queue_name) const;
  const EngineProgram* FindEngine(std::string_view engine_name) const;

  // "sg00/x.npy" for "x.npy"
  std::string PathOf(std::string_view file_name) const;

  bool operator==(const Subgraph&) const = default;
};

// Reads def.json at `definition` and every file it names. kInvalid, naming file and key: what is
// not of this form, a file that is missing, var_ids that are not unique, data larger than its
// variable, a descriptor that touches a byte outside its variables (or any byte of one whose size
// is unknown, except a state buffer, where the device's size decides), a copy whose sides differ in
// bytes, more than `limits`.
Result<Subgraph> ReadSubgraph(const Archive& archive, const std::string& name,
                              const std::string& definition, const Limits& limits = {});

// The text of def.json and of one engine's JSON file, of the same form as the vendor's. kInvalid
// for indices out of range and names that are not UTF-8.
Result<std::string> SerializeDefinition(const Subgraph& subgraph);
Result<std::string> SerializeEngine(const Subgraph& subgraph, const EngineProgram& engine);

}  // namespace nrtd::neff
