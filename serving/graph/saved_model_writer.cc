// SPDX-License-Identifier: Apache-2.0
#include "serving/graph/saved_model_writer.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>

#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "serving/graph/graph.h"
#include "serving/tensor/tensor_proto.h"

namespace nrtd::serving {
namespace {

namespace tf = ::tensorflow;

constexpr int64_t kSchemaVersion = 1;
// Of graphs that TensorFlow 1.15 writes (TF_GRAPH_DEF_VERSION).
constexpr int32_t kGraphProducer = 134;

// Names of nodes begin with a letter, a digit or a point, and have no others but "_", "-" and "/".
std::string NodeName(const std::string& text) {
  std::string name;
  for (const char c : text) {
    const bool fine = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' ||
                      c == '-' || c == '/';
    name += fine ? c : '_';
  }
  if (name.empty() || std::isalnum(static_cast<unsigned char>(name[0])) == 0) name = "t" + name;
  return name;
}

Shape DeclaredShape(const SavedPort& port) {
  Shape shape = port.shape;
  if (port.batched && !shape.empty()) shape[0] = -1;
  return shape;
}

class Writer {
 public:
  explicit Writer(tf::GraphDef& graph) : graph_(graph) {}

  tf::NodeDef& Add(const std::string& wanted, const std::string& op) {
    std::string name = NodeName(wanted);
    for (int i = 1; !names_.insert(name).second; ++i)
      name = fmt::format("{}_{}", NodeName(wanted), i);
    tf::NodeDef& node = *graph_.add_node();
    node.set_name(name);
    node.set_op(op);
    return node;
  }

 private:
  tf::GraphDef& graph_;
  std::set<std::string> names_;
};

void SetInfo(const SavedPort& port, const std::string& tensor, tf::TensorInfo* info) {
  info->set_name(tensor);
  info->set_dtype(DataTypeOf(port.dtype));
  SetShape(DeclaredShape(port), info->mutable_tensor_shape());
}

void SetPorts(const std::vector<SavedPort>& ports, const std::string& which, tf::NodeDef& node) {
  auto& attributes = *node.mutable_attr();
  for (const SavedPort& port : ports) {
    attributes[which + "_names"].mutable_list()->add_s(port.name);
    attributes[which + "_dtypes"].mutable_list()->add_type(DataTypeOf(port.dtype));
    SetShape(port.shape, attributes[which + "_shapes"].mutable_list()->add_shape());
    attributes[which + "_batch_axis"].mutable_list()->add_i(port.batched ? 0 : -1);
  }
}

Result<void> CheckKeys(const std::vector<SavedPort>& ports) {
  std::set<std::string> keys;
  for (const SavedPort& port : ports) {
    if (!keys.insert(port.key).second)
      return Fail(Nerr::kInvalid, "two tensors of the signature have the name '{}'", port.key);
  }
  return {};
}

}  // namespace

Result<tf::SavedModel> MakeSavedModel(SavedNetwork network) {
  NRTD_TRY(CheckKeys(network.inputs));
  NRTD_TRY(CheckKeys(network.outputs));
  tf::SavedModel saved_model;
  saved_model.set_saved_model_schema_version(kSchemaVersion);
  tf::MetaGraphDef& meta = *saved_model.add_meta_graphs();
  meta.mutable_meta_info_def()->add_tags("serve");
  meta.mutable_graph_def()->mutable_versions()->set_producer(kGraphProducer);
  tf::SignatureDef& signature = (*meta.mutable_signature_def())[kDefaultSignature];
  signature.set_method_name("tensorflow/serving/" + network.method);
  Writer writer(*meta.mutable_graph_def());

  std::vector<std::string> inputs;
  for (const SavedPort& port : network.inputs) {
    tf::NodeDef& node = writer.Add(port.key, "Placeholder");
    (*node.mutable_attr())["dtype"].set_type(DataTypeOf(port.dtype));
    SetShape(DeclaredShape(port), (*node.mutable_attr())["shape"].mutable_shape());
    inputs.push_back(node.name());
    SetInfo(port, node.name() + ":0", &(*signature.mutable_inputs())[port.key]);
  }
  tf::NodeDef& neuron = writer.Add("neuron_op_" + network.name, "NeuronOp");
  for (const std::string& input : inputs) neuron.add_input(input);
  SetPorts(network.inputs, "input", neuron);
  SetPorts(network.outputs, "output", neuron);
  for (SavedVariant& variant : network.variants) {
    auto& attributes = *neuron.mutable_attr();
    attributes[op::kVariantExecutables].mutable_list()->add_s(std::move(variant.neff));
    for (const Shape& shape : variant.input_shapes)
      SetShape(shape, attributes[op::kVariantInputShapes].mutable_list()->add_shape());
    for (const Shape& shape : variant.output_shapes)
      SetShape(shape, attributes[op::kVariantOutputShapes].mutable_list()->add_shape());
  }
  const uint64_t neff_bytes = network.neff.size();
  (*neuron.mutable_attr())["graph_def"].set_s("");
  (*neuron.mutable_attr())["executable"].set_s(std::move(network.neff));
  // The most cores of a network of the graph, those of this one, copies, seconds for an inference,
  // no group in particular.
  const int64_t cores = network.cores;
  const auto seconds = std::max<int64_t>(10, static_cast<int64_t>(neff_bytes / 100'000'000));
  for (const int64_t number : {cores, cores, int64_t{1}, seconds, int64_t{-1}})
    (*neuron.mutable_attr())["model_config"].mutable_list()->add_i(number);
  const std::string neuron_name = neuron.name();
  for (size_t i = 0; i < network.outputs.size(); ++i) {
    const SavedPort& port = network.outputs[i];
    tf::NodeDef& node = writer.Add(port.key, "IdentityN");
    node.add_input(i == 0 ? neuron_name : fmt::format("{}:{}", neuron_name, i));
    (*node.mutable_attr())["T"].mutable_list()->add_type(DataTypeOf(port.dtype));
    SetInfo(port, node.name() + ":0", &(*signature.mutable_outputs())[port.key]);
  }
  if (saved_model.ByteSizeLong() > INT32_MAX)
    return Fail(Nerr::kInvalid, "a SavedModel has 2 GiB at most, and this one {} bytes",
                saved_model.ByteSizeLong());
  return saved_model;
}

Result<void> WriteSavedModel(const tf::SavedModel& saved_model, const std::string& folder,
                             int64_t version) {
  namespace fs = std::filesystem;
  const fs::path place = fs::path(folder) / fmt::to_string(version);
  const fs::path path = place / "saved_model.pb";
  if (fs::exists(path))
    return Fail(Nerr::kInvalid, "{} is there already: choose another version", path.string());
  const std::string bytes = saved_model.SerializeAsString();
  if (fs::exists(place)) return WriteFileAtomically(path.string(), AsBytes(bytes));
  // A server looks for new versions all the time: the folder comes with its file in it.
  const fs::path temporary = fs::path(folder) / fmt::format(".{}.{}.tmp", version, ::getpid());
  std::error_code error;
  fs::create_directories(temporary, error);
  if (error) return Fail(Nerr::kInvalid, "cannot make {}: {}", temporary.string(), error.message());
  Result<void> written =
      WriteFileAtomically((temporary / path.filename()).string(), AsBytes(bytes));
  if (written) {
    fs::rename(temporary, place, error);
    if (error)
      written = Fail(Nerr::kInvalid, "cannot rename {} to {}: {}", temporary.string(),
                     place.string(), error.message());
  }
  if (!written) fs::remove_all(temporary, error);
  return written;
}

}  // namespace nrtd::serving
