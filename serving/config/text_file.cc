// SPDX-License-Identifier: Apache-2.0
#include "serving/config/text_file.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include "base/file.h"

namespace nrtd::serving {
namespace {

class FirstError final : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (text_.empty()) text_ = fmt::format("{}:{}: {}", line + 1, column + 1, message);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace

Result<void> ReadTextMessage(const std::string& path, google::protobuf::Message* message) {
  NRTD_ASSIGN(const std::string text, ReadTextFile(path));
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  if (!parser.ParseFromString(text, message))
    return Fail(Nerr::kInvalid, "Invalid protobuf file: '{}' ({})", path, error.text());
  return {};
}

}  // namespace nrtd::serving
