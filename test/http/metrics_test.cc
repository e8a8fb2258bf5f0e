// SPDX-License-Identifier: Apache-2.0
#include "http/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nrtd {
namespace {

using ::testing::HasSubstr;

TEST(Metrics, PageIsTheOriginals) {
  Metrics metrics;
  metrics.Count("/test/path/total", {{"name", "abc"}}, 2);
  EXPECT_EQ(metrics.Page(), "# TYPE :test:path:total counter\n:test:path:total{name=\"abc\"} 2\n");
}

TEST(Metrics, AValueThatIsALimitBelongsToTheBucketAbove) {
  Metrics metrics;
  metrics.DeclareHistogram("/h", {1, 2, 3});
  EXPECT_EQ(metrics.Page(), "# TYPE :h histogram\n");
  metrics.Observe("/h", {}, 2);
  metrics.Observe("/h", {}, 100);
  EXPECT_EQ(metrics.Page(),
            "# TYPE :h histogram\n"
            ":h_bucket{le=\"1\"} 0\n:h_bucket{le=\"2\"} 0\n:h_bucket{le=\"4\"} 1\n"
            ":h_bucket{le=\"+Inf\"} 2\n:h_sum{} 102\n:h_count{} 2\n");
}

TEST(Metrics, LimitsArePrintedAsTheOriginalPrintsThem) {
  Metrics metrics;
  metrics.DeclareHistogram("/h", kLatencyBuckets);
  metrics.Observe("/h", {{"a", "b"}}, 1);
  for (const char* limit :
       {"10", "18", "104.976", "1983.59", "121440", "1.27482e+06", "1.47476e+09"})
    EXPECT_THAT(metrics.Page(), HasSubstr("le=\"" + std::string(limit) + "\"} 1\n"));
}

TEST(Metrics, ValuesOfLabelsCannotBreakThePage) {
  Metrics metrics;
  metrics.Count("/c", {{"model name", "a\"b\\c\nd"}});
  EXPECT_EQ(metrics.Page(), "# TYPE :c counter\n:c{model_name=\"a\\\"b\\\\c d\"} 1\n");
}

TEST(Metrics, GaugesAreReadForThePage) {
  Metrics metrics;
  int64_t depth = 3;
  metrics.DeclareGauge("/neuron/serving/queue_depth", [&] {
    return Metrics::Readings{{{{"model_name", "m"}}, depth}};
  });
  depth = 4;
  EXPECT_EQ(metrics.Page(),
            "# TYPE :neuron:serving:queue_depth gauge\n"
            ":neuron:serving:queue_depth{model_name=\"m\"} 4\n");
}

}  // namespace
}  // namespace nrtd
