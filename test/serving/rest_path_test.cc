// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "serving/rest/rest_api.h"

namespace nrtd::serving {
namespace {

std::string TextOf(std::string_view method, std::string_view target) {
  const auto path = ParseRestPath(method, target);
  if (!path) return "none";
  return path->model + "|" + path->version.value_or("-") + "|" + path->label.value_or("-") + "|" +
         path->verb + (path->is_metadata ? "metadata" : "");
}

TEST(RestPath, IsReadAsTheOriginalReadsIt) {
  EXPECT_EQ(TextOf("POST", "/v1/models/m:predict"), "m|-|-|predict");
  EXPECT_EQ(TextOf("POST", "/V1/Models/m/Versions/12:classify"), "m|12|-|classify");
  EXPECT_EQ(TextOf("POST", "/v1/models/a%20b/labels/stable%2F1:regress"), "a b|-|stable/1|regress");
  EXPECT_EQ(TextOf("GET", "/v1/models/m"), "m|-|-|");
  EXPECT_EQ(TextOf("GET", "/v1/models/m/versions/3/metadata"), "m|3|-|metadata");
  EXPECT_EQ(TextOf("GET", "/v1/models/m/labels/canary"), "m|-|canary|");
  EXPECT_EQ(TextOf("GET", "/v1/models/metadata"), "metadata|-|-|");
  EXPECT_EQ(TextOf("GET", "/v1/models"), "|-|-|");
}

TEST(RestPath, IsNoneForWhatTheApiDoesNotHave) {
  for (const char* target :
       {"/v1/models/m:PREDICT", "/v1/models/m", "/v1/models/m:predict?x=1", "/v1/models/m/:predict",
        "/v1/models/m/versions/abc:predict", "/v1/models/m/versions/:predict",
        "/v1/models/m/labels/:predict", "/v1/models//versions/1:predict", "/v1/models/:predict",
        "/v1/models/m/versions/1/labels/x:predict", "/v1/other"})
    EXPECT_EQ(TextOf("POST", target), "none") << target;
  for (const char* target : {"/v1/models/", "/v1/models/m/", "/v1/models/m:predict",
                             "/v1/models/m/metadata/", "/v1/models/m/versions"})
    EXPECT_EQ(TextOf("GET", target), "none") << target;
  EXPECT_EQ(TextOf("PUT", "/v1/models/m"), "none");
}

}  // namespace
}  // namespace nrtd::serving
