// SPDX-License-Identifier: Apache-2.0
//
// Our messages beside TensorFlow's and TensorFlow Serving's: names, numbers and types of every
// field that we have, as the public protos say.
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/tensorflow/example.pb.h"
#include "proto/tensorflow/saved_model.pb.h"
#include "proto/tensorflow_serving/services.pb.h"

namespace nrtd::serving {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;

constexpr const char* kFields[] = {
    "tensorflow.AttrValue 1 list ListValue",
    "tensorflow.AttrValue 2 s bytes",
    "tensorflow.AttrValue 3 i int64",
    "tensorflow.AttrValue 4 f float",
    "tensorflow.AttrValue 5 b bool",
    "tensorflow.AttrValue 6 type DataType",
    "tensorflow.AttrValue 7 shape TensorShapeProto",
    "tensorflow.AttrValue 8 tensor TensorProto",
    "tensorflow.AttrValue 9 placeholder string",
    "tensorflow.AttrValue 10 func NameAttrList",
    "tensorflow.AttrValue.ListValue 2 s repeated bytes",
    "tensorflow.AttrValue.ListValue 3 i repeated int64",
    "tensorflow.AttrValue.ListValue 4 f repeated float",
    "tensorflow.AttrValue.ListValue 5 b repeated bool",
    "tensorflow.AttrValue.ListValue 6 type repeated DataType",
    "tensorflow.AttrValue.ListValue 7 shape repeated TensorShapeProto",
    "tensorflow.AttrValue.ListValue 8 tensor repeated TensorProto",
    "tensorflow.AttrValue.ListValue 9 func repeated NameAttrList",
    "tensorflow.BytesList 1 value repeated bytes",
    "tensorflow.Example 1 features Features",
    "tensorflow.Feature 1 bytes_list BytesList",
    "tensorflow.Feature 2 float_list FloatList",
    "tensorflow.Feature 3 int64_list Int64List",
    "tensorflow.Features 1 feature map<string,Feature>",
    "tensorflow.FloatList 1 value repeated float",
    "tensorflow.GraphDef 1 node repeated NodeDef",
    "tensorflow.GraphDef 4 versions VersionDef",
    "tensorflow.Int64List 1 value repeated int64",
    "tensorflow.MetaGraphDef 1 meta_info_def MetaInfoDef",
    "tensorflow.MetaGraphDef 2 graph_def GraphDef",
    "tensorflow.MetaGraphDef 5 signature_def map<string,SignatureDef>",
    "tensorflow.MetaGraphDef.MetaInfoDef 1 meta_graph_version string",
    "tensorflow.MetaGraphDef.MetaInfoDef 4 tags repeated string",
    "tensorflow.MetaGraphDef.MetaInfoDef 5 tensorflow_version string",
    "tensorflow.MetaGraphDef.MetaInfoDef 6 tensorflow_git_version string",
    "tensorflow.MetaGraphDef.MetaInfoDef 7 stripped_default_attrs bool",
    "tensorflow.NameAttrList 1 name string",
    "tensorflow.NameAttrList 2 attr map<string,AttrValue>",
    "tensorflow.NodeDef 1 name string",
    "tensorflow.NodeDef 2 op string",
    "tensorflow.NodeDef 3 input repeated string",
    "tensorflow.NodeDef 4 device string",
    "tensorflow.NodeDef 5 attr map<string,AttrValue>",
    "tensorflow.SavedModel 1 saved_model_schema_version int64",
    "tensorflow.SavedModel 2 meta_graphs repeated MetaGraphDef",
    "tensorflow.SignatureDef 1 inputs map<string,TensorInfo>",
    "tensorflow.SignatureDef 2 outputs map<string,TensorInfo>",
    "tensorflow.SignatureDef 3 method_name string",
    "tensorflow.TensorInfo 1 name string",
    "tensorflow.TensorInfo 2 dtype DataType",
    "tensorflow.TensorInfo 3 tensor_shape TensorShapeProto",
    "tensorflow.TensorProto 1 dtype DataType",
    "tensorflow.TensorProto 2 tensor_shape TensorShapeProto",
    "tensorflow.TensorProto 3 version_number int32",
    "tensorflow.TensorProto 4 tensor_content bytes",
    "tensorflow.TensorProto 5 float_val repeated float",
    "tensorflow.TensorProto 6 double_val repeated double",
    "tensorflow.TensorProto 7 int_val repeated int32",
    "tensorflow.TensorProto 8 string_val repeated bytes",
    "tensorflow.TensorProto 9 scomplex_val repeated float",
    "tensorflow.TensorProto 10 int64_val repeated int64",
    "tensorflow.TensorProto 11 bool_val repeated bool",
    "tensorflow.TensorProto 12 dcomplex_val repeated double",
    "tensorflow.TensorProto 13 half_val repeated int32",
    "tensorflow.TensorProto 16 uint32_val repeated uint32",
    "tensorflow.TensorProto 17 uint64_val repeated uint64",
    "tensorflow.TensorShapeProto 2 dim repeated Dim",
    "tensorflow.TensorShapeProto 3 unknown_rank bool",
    "tensorflow.TensorShapeProto.Dim 1 size int64",
    "tensorflow.TensorShapeProto.Dim 2 name string",
    "tensorflow.VersionDef 1 producer int32",
    "tensorflow.VersionDef 2 min_consumer int32",
    "tensorflow.VersionDef 3 bad_consumers repeated int32",
    "tensorflow.serving.BatchingParameters 1 max_batch_size Int64Value",
    "tensorflow.serving.BatchingParameters 2 batch_timeout_micros Int64Value",
    "tensorflow.serving.BatchingParameters 3 max_enqueued_batches Int64Value",
    "tensorflow.serving.BatchingParameters 4 num_batch_threads Int64Value",
    "tensorflow.serving.BatchingParameters 5 thread_pool_name StringValue",
    "tensorflow.serving.BatchingParameters 6 allowed_batch_sizes repeated int64",
    "tensorflow.serving.BatchingParameters 7 pad_variable_length_inputs bool",
    "tensorflow.serving.Class 1 label string",
    "tensorflow.serving.Class 2 score float",
    "tensorflow.serving.ClassificationRequest 1 model_spec ModelSpec",
    "tensorflow.serving.ClassificationRequest 2 input Input",
    "tensorflow.serving.ClassificationResponse 1 result ClassificationResult",
    "tensorflow.serving.ClassificationResponse 2 model_spec ModelSpec",
    "tensorflow.serving.ClassificationResult 1 classifications repeated Classifications",
    "tensorflow.serving.Classifications 1 classes repeated Class",
    "tensorflow.serving.ExampleList 1 examples repeated Example",
    "tensorflow.serving.ExampleListWithContext 1 examples repeated Example",
    "tensorflow.serving.ExampleListWithContext 2 context Example",
    "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy 100 latest Latest",
    "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy 101 all All",
    "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy 102 specific "
    "Specific",
    "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy.Latest 1 "
    "num_versions uint32",
    "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy.Specific 1 "
    "versions repeated int64",
    "tensorflow.serving.GetModelMetadataRequest 1 model_spec ModelSpec",
    "tensorflow.serving.GetModelMetadataRequest 2 metadata_field repeated string",
    "tensorflow.serving.GetModelMetadataResponse 1 model_spec ModelSpec",
    "tensorflow.serving.GetModelMetadataResponse 2 metadata map<string,Any>",
    "tensorflow.serving.GetModelStatusRequest 1 model_spec ModelSpec",
    "tensorflow.serving.GetModelStatusResponse 1 model_version_status repeated ModelVersionStatus",
    "tensorflow.serving.InferenceResult 1 model_spec ModelSpec",
    "tensorflow.serving.InferenceResult 2 classification_result ClassificationResult",
    "tensorflow.serving.InferenceResult 3 regression_result RegressionResult",
    "tensorflow.serving.InferenceTask 1 model_spec ModelSpec",
    "tensorflow.serving.InferenceTask 2 method_name string",
    "tensorflow.serving.Input 1 example_list ExampleList",
    "tensorflow.serving.Input 2 example_list_with_context ExampleListWithContext",
    "tensorflow.serving.ModelConfig 1 name string",
    "tensorflow.serving.ModelConfig 2 base_path string",
    "tensorflow.serving.ModelConfig 4 model_platform string",
    "tensorflow.serving.ModelConfig 7 model_version_policy ServableVersionPolicy",
    "tensorflow.serving.ModelConfig 8 version_labels map<string,int64>",
    "tensorflow.serving.ModelConfigList 1 config repeated ModelConfig",
    "tensorflow.serving.ModelServerConfig 1 model_config_list ModelConfigList",
    "tensorflow.serving.ModelServerConfig 2 custom_model_config Any",
    "tensorflow.serving.ModelSpec 1 name string",
    "tensorflow.serving.ModelSpec 2 version Int64Value",
    "tensorflow.serving.ModelSpec 3 signature_name string",
    "tensorflow.serving.ModelSpec 4 version_label string",
    "tensorflow.serving.ModelVersionStatus 1 version int64",
    "tensorflow.serving.ModelVersionStatus 2 state State",
    "tensorflow.serving.ModelVersionStatus 3 status StatusProto",
    "tensorflow.serving.MonitoringConfig 1 prometheus_config PrometheusConfig",
    "tensorflow.serving.MultiInferenceRequest 1 tasks repeated InferenceTask",
    "tensorflow.serving.MultiInferenceRequest 2 input Input",
    "tensorflow.serving.MultiInferenceResponse 1 results repeated InferenceResult",
    "tensorflow.serving.PredictRequest 1 model_spec ModelSpec",
    "tensorflow.serving.PredictRequest 2 inputs map<string,TensorProto>",
    "tensorflow.serving.PredictRequest 3 output_filter repeated string",
    "tensorflow.serving.PredictResponse 1 outputs map<string,TensorProto>",
    "tensorflow.serving.PredictResponse 2 model_spec ModelSpec",
    "tensorflow.serving.PrometheusConfig 1 enable bool",
    "tensorflow.serving.PrometheusConfig 2 path string",
    "tensorflow.serving.Regression 1 value float",
    "tensorflow.serving.RegressionRequest 1 model_spec ModelSpec",
    "tensorflow.serving.RegressionRequest 2 input Input",
    "tensorflow.serving.RegressionResponse 1 result RegressionResult",
    "tensorflow.serving.RegressionResponse 2 model_spec ModelSpec",
    "tensorflow.serving.RegressionResult 1 regressions repeated Regression",
    "tensorflow.serving.ReloadConfigRequest 1 config ModelServerConfig",
    "tensorflow.serving.ReloadConfigResponse 1 status StatusProto",
    "tensorflow.serving.SSLConfig 1 server_key string",
    "tensorflow.serving.SSLConfig 2 server_cert string",
    "tensorflow.serving.SSLConfig 3 custom_ca string",
    "tensorflow.serving.SSLConfig 4 client_verify bool",
    "tensorflow.serving.SignatureDefMap 1 signature_def map<string,SignatureDef>",
    "tensorflow.serving.StatusProto 1 error_code Code",
    "tensorflow.serving.StatusProto 2 error_message string",
};

std::string TypeName(const FieldDescriptor& field) {
  if (field.message_type() != nullptr) return field.message_type()->name();
  if (field.enum_type() != nullptr) return field.enum_type()->name();
  return field.type_name();
}

std::string FieldType(const FieldDescriptor& field) {
  if (field.is_map()) {
    return "map<" + TypeName(*field.message_type()->map_key()) + "," +
           TypeName(*field.message_type()->map_value()) + ">";
  }
  return (field.is_repeated() ? "repeated " : "") + TypeName(field);
}

void Collect(const Descriptor& message, std::set<std::string>* fields) {
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    fields->insert(message.full_name() + " " + std::to_string(field.number()) + " " + field.name() +
                   " " + FieldType(field));
  }
  for (int i = 0; i < message.nested_type_count(); ++i) {
    if (!message.nested_type(i)->options().map_entry()) Collect(*message.nested_type(i), fields);
  }
}

void Collect(const FileDescriptor& file, std::set<std::string>* fields) {
  for (int i = 0; i < file.message_type_count(); ++i) Collect(*file.message_type(i), fields);
}

TEST(WireContractTest, EveryFieldHasThePublicNumberAndType) {
  std::set<std::string> fields;
  for (const FileDescriptor* file :
       {tensorflow::TensorProto::descriptor()->file(), tensorflow::SavedModel::descriptor()->file(),
        tensorflow::Example::descriptor()->file(),
        tensorflow::serving::PredictRequest::descriptor()->file(),
        tensorflow::serving::ModelConfig::descriptor()->file()})
    Collect(*file, &fields);
  EXPECT_THAT(fields, ::testing::UnorderedElementsAreArray(kFields));
}

TEST(WireContractTest, TypesOfElementsHaveThePublicNumbers) {
  EXPECT_EQ(tensorflow::DT_FLOAT, 1);
  EXPECT_EQ(tensorflow::DT_DOUBLE, 2);
  EXPECT_EQ(tensorflow::DT_INT32, 3);
  EXPECT_EQ(tensorflow::DT_UINT8, 4);
  EXPECT_EQ(tensorflow::DT_INT16, 5);
  EXPECT_EQ(tensorflow::DT_INT8, 6);
  EXPECT_EQ(tensorflow::DT_STRING, 7);
  EXPECT_EQ(tensorflow::DT_INT64, 9);
  EXPECT_EQ(tensorflow::DT_BOOL, 10);
  EXPECT_EQ(tensorflow::DT_BFLOAT16, 14);
  EXPECT_EQ(tensorflow::DT_UINT16, 17);
  EXPECT_EQ(tensorflow::DT_HALF, 19);
  EXPECT_EQ(tensorflow::DT_UINT32, 22);
  EXPECT_EQ(tensorflow::DT_UINT64, 23);
}

TEST(WireContractTest, CallsHaveThePublicNames) {
  // Linked in because it is named.
  ASSERT_NE(&descriptor_table_proto_2ftensorflow_5fserving_2fservices_2eproto, nullptr);
  const auto* file = google::protobuf::DescriptorPool::generated_pool()->FindFileByName(
      "proto/tensorflow_serving/services.proto");
  ASSERT_NE(file, nullptr);
  std::set<std::string> calls;
  for (int s = 0; s < file->service_count(); ++s) {
    for (int m = 0; m < file->service(s)->method_count(); ++m)
      calls.insert(file->service(s)->method(m)->full_name());
  }
  EXPECT_THAT(calls, ::testing::UnorderedElementsAre(
                         "tensorflow.serving.PredictionService.Classify",
                         "tensorflow.serving.PredictionService.Regress",
                         "tensorflow.serving.PredictionService.Predict",
                         "tensorflow.serving.PredictionService.MultiInference",
                         "tensorflow.serving.PredictionService.GetModelMetadata",
                         "tensorflow.serving.ModelService.GetModelStatus",
                         "tensorflow.serving.ModelService.HandleReloadConfigRequest"));
}

}  // namespace
}  // namespace nrtd::serving
