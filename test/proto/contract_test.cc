// SPDX-License-Identifier: Apache-2.0
//
// Our proto/nrt against the public contract, in both directions: nothing missing, nothing added.
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "proto/nrt/nerr.pb.h"
#include "proto/nrtd/v1/control.pb.h"
#include "test/proto/contract_table.h"

namespace nrtd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;

std::vector<const FileDescriptor*> OurFiles() {
  std::vector<const FileDescriptor*> files;
  for (const char* name : {"common", "nerr", "nmetric", "nmgr", "nmgr_service",
                           "nmgr_session_service", "nmgr_stream_service"}) {
    files.push_back(DescriptorPool::generated_pool()->FindFileByName("proto/nrt/" +
                                                                     std::string(name) + ".proto"));
  }
  return files;
}

template <typename Row>
std::set<std::string> NamesOf(const std::vector<Row>& rows) {
  std::set<std::string> names;
  for (const Row& row : rows) names.insert(std::string(row.name));
  return names;
}

std::string TypeName(const FieldDescriptor& field) {
  if (field.message_type() != nullptr) return field.message_type()->full_name();
  if (field.enum_type() != nullptr) return field.enum_type()->full_name();
  return field.type_name();
}

std::string ExpectedTypeName(const ContractField& field) {
  static const std::set<std::string_view> kScalars = {"bool",  "bytes",  "double", "int32",
                                                      "int64", "string", "uint32", "uint64"};
  if (kScalars.contains(field.type)) return std::string(field.type);
  return "nrt." + std::string(field.type);
}

TEST(ContractTest, EveryFileIsProto3InPackageNrt) {
  for (const FileDescriptor* file : OurFiles()) {
    ASSERT_NE(file, nullptr);
    EXPECT_EQ(file->package(), "nrt") << file->name();
    EXPECT_EQ(file->syntax(), FileDescriptor::SYNTAX_PROTO3) << file->name();
  }
}

TEST(ContractTest, TheMessagesAreThePublicOnesAndNoOthers) {
  std::set<std::string> ours;
  for (const FileDescriptor* file : OurFiles()) {
    ASSERT_NE(file, nullptr);
    for (int i = 0; i < file->message_type_count(); ++i) {
      ours.insert(file->message_type(i)->name());
      EXPECT_EQ(file->message_type(i)->nested_type_count(), 0) << file->message_type(i)->name();
      EXPECT_EQ(file->message_type(i)->enum_type_count(), 0) << file->message_type(i)->name();
    }
  }
  EXPECT_EQ(ours, NamesOf(kContractMessages));
}

TEST(ContractTest, EveryFieldHasItsNumberTypeLabelAndOneof) {
  for (const ContractMessage& expected : kContractMessages) {
    const Descriptor* message = DescriptorPool::generated_pool()->FindMessageTypeByName(
        "nrt." + std::string(expected.name));
    ASSERT_NE(message, nullptr) << expected.name;
    EXPECT_EQ(message->field_count(), static_cast<int>(expected.fields.size())) << expected.name;
    for (const ContractField& row : expected.fields) {
      SCOPED_TRACE(std::string(expected.name) + "." + std::string(row.name));
      const FieldDescriptor* field = message->FindFieldByName(std::string(row.name));
      ASSERT_NE(field, nullptr);
      EXPECT_EQ(field->number(), row.number);
      EXPECT_EQ(TypeName(*field), ExpectedTypeName(row));
      EXPECT_EQ(field->is_repeated(), row.repeated);
      EXPECT_FALSE(field->has_optional_keyword());
      const auto* oneof = field->real_containing_oneof();
      EXPECT_EQ(oneof == nullptr ? "" : oneof->name(), row.oneof);
      // Packing is on the wire too; proto3 packs repeated numbers unless told otherwise.
      EXPECT_EQ(field->is_packed(), field->is_repeated() && field->is_packable());
    }
  }
}

TEST(ContractTest, EveryEnumHasItsValuesAndNoOthers) {
  std::set<std::string> ours;
  for (const FileDescriptor* file : OurFiles()) {
    ASSERT_NE(file, nullptr);
    for (int i = 0; i < file->enum_type_count(); ++i) ours.insert(file->enum_type(i)->name());
  }
  EXPECT_EQ(ours, NamesOf(kContractEnums));
  for (const ContractEnum& expected : kContractEnums) {
    const EnumDescriptor* type =
        DescriptorPool::generated_pool()->FindEnumTypeByName("nrt." + std::string(expected.name));
    ASSERT_NE(type, nullptr) << expected.name;
    EXPECT_EQ(type->value_count(), static_cast<int>(expected.values.size())) << expected.name;
    for (const auto& [name, number] : expected.values) {
      const auto* value = type->FindValueByName(std::string(name));
      ASSERT_NE(value, nullptr) << name;
      EXPECT_EQ(value->number(), number) << name;
    }
  }
}

TEST(ContractTest, EveryServiceHasItsMethodsAndNoOthers) {
  std::set<std::string> ours;
  for (const FileDescriptor* file : OurFiles()) {
    ASSERT_NE(file, nullptr);
    for (int i = 0; i < file->service_count(); ++i) ours.insert(file->service(i)->name());
  }
  EXPECT_EQ(ours, NamesOf(kContractServices));
  for (const ContractService& expected : kContractServices) {
    const ServiceDescriptor* service =
        DescriptorPool::generated_pool()->FindServiceByName("nrt." + std::string(expected.name));
    ASSERT_NE(service, nullptr) << expected.name;
    EXPECT_EQ(service->method_count(), static_cast<int>(expected.methods.size())) << expected.name;
    for (const ContractMethod& row : expected.methods) {
      SCOPED_TRACE(std::string(expected.name) + "." + std::string(row.name));
      const MethodDescriptor* method = service->FindMethodByName(std::string(row.name));
      ASSERT_NE(method, nullptr);
      EXPECT_EQ(method->input_type()->full_name(), "nrt." + std::string(row.input));
      EXPECT_EQ(method->output_type()->full_name(), "nrt." + std::string(row.output));
      EXPECT_EQ(method->client_streaming(), row.client_streams);
      EXPECT_EQ(method->server_streaming(), row.server_streams);
    }
  }
}

TEST(ContractTest, TheDaemonsOwnErrorCodesAreThoseOfTheContract) {
  const EnumDescriptor* codes = nrt::nerr_descriptor();
  for (int i = 0; i < codes->value_count(); ++i) {
    // NerrName knows every enumerator of Nerr, so a code that ours lacks shows as "NERR_<number>".
    EXPECT_EQ(NerrName(static_cast<Nerr>(codes->value(i)->number())), codes->value(i)->name());
  }
  for (int32_t number = -1; number <= 2000; ++number) {
    const bool ours = NerrName(static_cast<Nerr>(number)) != "NERR_" + std::to_string(number);
    EXPECT_EQ(ours, nrt::nerr_IsValid(number)) << number;
  }
}

TEST(ControlTest, EveryResponseBeginsWithTheContractsStatus) {
  const ServiceDescriptor* control =
      nrtd::v1::HealthRequest::descriptor()->file()->FindServiceByName("Control");
  ASSERT_NE(control, nullptr);
  EXPECT_EQ(control->full_name(), "nrtd.v1.Control");
  ASSERT_GT(control->method_count(), 0);
  for (int i = 0; i < control->method_count(); ++i) {
    const FieldDescriptor* field = control->method(i)->output_type()->FindFieldByNumber(1);
    ASSERT_NE(field, nullptr) << control->method(i)->name();
    EXPECT_EQ(field->name(), "status");
    EXPECT_EQ(TypeName(*field), "nrt.status");
  }
}

}  // namespace
}  // namespace nrtd
