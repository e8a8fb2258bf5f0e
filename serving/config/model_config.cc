// SPDX-License-Identifier: Apache-2.0
#include "serving/config/model_config.h"

namespace nrtd::serving {
namespace {

namespace tfs = ::tensorflow::serving;

VersionPolicy PolicyOf(const tfs::FileSystemStoragePathSourceConfig::ServableVersionPolicy& from) {
  if (from.has_all()) return All{};
  if (!from.has_specific()) return Latest{std::max(from.latest().num_versions(), 1U)};
  return Specific(from.specific().versions().begin(), from.specific().versions().end());
}

}  // namespace

Result<std::vector<ModelSource>> SourcesOf(const tfs::ModelServerConfig& config) {
  std::vector<ModelSource> sources;
  if (config.has_custom_model_config()) {
    return Fail(Nerr::kInvalid,
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
                "ModelConfigList is currently supported");
  }
  for (const tfs::ModelConfig& model : config.model_config_list().config()) {
    if (!model.model_platform().empty() && model.model_platform() != "tensorflow") {
      return Fail(Nerr::kInvalid, "Model {} requests unsupported platform {}", model.name(),
                  model.model_platform());
    }
    sources.push_back({model.name(),
                       model.base_path(),
                       PolicyOf(model.model_version_policy()),
                       {model.version_labels().begin(), model.version_labels().end()}});
  }
  return sources;
}

}  // namespace nrtd::serving
