// SPDX-License-Identifier: Apache-2.0
#include "serving/graph/neuron_op_reader.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "serving/graph/node_attributes.h"

namespace nrtd::serving {
namespace {

namespace tf = ::tensorflow;

Result<std::vector<op::NeuronTensor>> NeuronTensors(const Attributes& attributes,
                                                    const std::string& which) {
  const auto& names = attributes.List((which + "_names").c_str());
  const auto& types = attributes.List((which + "_dtypes").c_str());
  const auto& shapes = attributes.List((which + "_shapes").c_str());
  const auto& axes = attributes.List((which + "_batch_axis").c_str());
  if (names.s_size() != types.type_size() || names.s_size() != shapes.shape_size() ||
      (axes.i_size() != 0 && axes.i_size() != names.s_size())) {
    return Fail(Nerr::kInvalid,
                "{0}_names, {0}_dtypes, {0}_shapes and {0}_batch_axis differ in length", which);
  }
  std::vector<op::NeuronTensor> tensors;
  for (int i = 0; i < names.s_size(); ++i) {
    const auto of_tensor = [&](Error error) {
      error.text = fmt::format("{} '{}': {}", which, Printable(names.s(i)), error.text);
      return error;
    };
    NRTD_ASSIGN(const TensorSpec spec, SpecOf(types.type(i), shapes.shape(i)).map_error(of_tensor));
    const int64_t axis = axes.i_size() == 0 ? -1 : axes.i(i);
    const bool fixed = !spec.unknown_rank && ElementCount(spec.shape).value_or(0) > 0;
    if (!fixed || axis >= static_cast<int64_t>(spec.shape.size())) {
      return Fail(Nerr::kInvalid, "{} '{}' has the shape {} and the batch axis {}", which,
                  names.s(i), ShapeText(spec.shape), axis);
    }
    tensors.push_back({names.s(i), spec.dtype, spec.shape, axis});
  }
  return tensors;
}

std::shared_ptr<const std::string> TakeBytes(std::string* bytes) {
  return std::make_shared<const std::string>(std::move(*bytes));
}

// The size of the batch in the tensors' shapes; 0: none has a batch axis.
Result<int64_t> BatchOf(const op::Neuron& neuron) {
  int64_t batch = 0;
  for (const auto* tensors : {&neuron.inputs, &neuron.outputs}) {
    for (const op::NeuronTensor& tensor : *tensors) {
      if (tensor.batch_axis < 0) continue;
      const int64_t here = tensor.shape[static_cast<size_t>(tensor.batch_axis)];
      if (batch == 0) batch = here;
      if (here == batch) continue;
      return Fail(Nerr::kInvalid, "'{}' has a batch of {}, others of {}", Printable(tensor.name),
                  here, batch);
    }
  }
  return batch;
}

// Sets `batch` to what these shapes have at the tensors' batch axes; they differ nowhere else.
Result<void> FindBatch(const std::vector<op::NeuronTensor>& tensors,
                       const tf::AttrValue::ListValue& shapes, int first, int64_t* batch) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    NRTD_ASSIGN(const TensorSpec spec,
                SpecOf(DataTypeOf(tensors[i].dtype), shapes.shape(first + static_cast<int>(i))));
    Shape shape = tensors[i].shape;
    if (tensors[i].batch_axis >= 0 && spec.shape.size() == shape.size()) {
      const auto axis = static_cast<size_t>(tensors[i].batch_axis);
      shape[axis] = spec.shape[axis];
      if (*batch == 0) *batch = shape[axis];
      if (*batch != shape[axis]) *batch = -1;
    }
    if (spec.shape == shape && *batch >= 0 && ElementCount(shape).value_or(0) > 0) continue;
    return Fail(Nerr::kInvalid,
                "a variant has the shape {} for '{}', which differs from {} elsewhere than in the "
                "batch, or from its other tensors' batch",
                ShapeText(spec.shape), Printable(tensors[i].name), ShapeText(tensors[i].shape));
  }
  return {};
}

constexpr int kMostVariants = 64;

Result<void> AddVariants(tf::NodeDef& node, op::Neuron& neuron) {
  const Attributes attributes(node);
  const auto& inputs = attributes.List(op::kVariantInputShapes);
  const auto& outputs = attributes.List(op::kVariantOutputShapes);
  const auto found = node.mutable_attr()->find(op::kVariantExecutables);
  if (found == node.mutable_attr()->end()) return {};
  auto& executables = *found->second.mutable_list()->mutable_s();
  if (executables.size() > kMostVariants)
    return Fail(Nerr::kInvalid, "{} variants, and {} at most", executables.size(), kMostVariants);
  const auto in_count = static_cast<int>(neuron.inputs.size());
  const auto out_count = static_cast<int>(neuron.outputs.size());
  if (inputs.shape_size() != int64_t{executables.size()} * in_count ||
      outputs.shape_size() != int64_t{executables.size()} * out_count) {
    return Fail(Nerr::kInvalid, "{} variants, and shapes for {} inputs and {} outputs of them",
                executables.size(), inputs.shape_size(), outputs.shape_size());
  }
  for (int i = 0; i < executables.size(); ++i) {
    int64_t batch = 0;
    NRTD_TRY(FindBatch(neuron.inputs, inputs, i * in_count, &batch));
    NRTD_TRY(FindBatch(neuron.outputs, outputs, i * out_count, &batch));
    if (batch == 0 || executables[i].empty())
      return Fail(Nerr::kInvalid, "variant {} has {}", i,
                  batch == 0 ? "no tensor with a batch" : "no executable");
    const auto same = [&](const op::Executable& other) { return other.batch == batch; };
    if (std::any_of(neuron.executables.begin(), neuron.executables.end(), same))
      return Fail(Nerr::kInvalid, "two executables for a batch of {}", batch);
    neuron.executables.push_back({batch, TakeBytes(executables.Mutable(i))});
  }
  return {};
}

}  // namespace

Result<Operation> NeuronOf(tf::NodeDef& node) {
  const Attributes attributes(node);
  op::Neuron neuron;
  NRTD_ASSIGN(neuron.inputs, NeuronTensors(attributes, "input"));
  NRTD_ASSIGN(neuron.outputs, NeuronTensors(attributes, "output"));
  const auto& config = attributes.List("model_config").i();
  neuron.model_config.assign(config.begin(), config.end());
  const auto executable = node.mutable_attr()->find("executable");
  if (executable == node.mutable_attr()->end() || executable->second.s().empty()) {
    return Fail(
        Nerr::kInvalid,
        "it has no executable: the graph was not compiled; save it with tfn.saved_model.compile "
        "or neuron-cc compile --saved-model");
  }
  NRTD_ASSIGN(const int64_t batch, BatchOf(neuron));
  neuron.executables.push_back({batch, TakeBytes(executable->second.mutable_s())});
  NRTD_TRY(AddVariants(node, neuron));
  return neuron;
}

}  // namespace nrtd::serving
