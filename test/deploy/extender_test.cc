// SPDX-License-Identifier: Apache-2.0
#include "deploy/scheduler_extender/extender.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "deploy/cluster/fields.h"
#include "test/deploy/api_stand_in.h"
#include "test/must.h"

namespace nrtd::deploy {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class ExtenderTest : public ::testing::Test {
 protected:
  ExtenderTest() {
    api_.AddNode("six", 4);
    api_.AddNode("two", 1);
  }
  json Filter(const std::string& pod) {
    return extender_.Filter(
        {{"Pod", api_.pod(pod)}, {"Nodes", nullptr}, {"NodeNames", {"six", "two"}}});
  }
  std::string Bind(const std::string& pod, const std::string& node = "six") {
    return extender_.Bind({{"PodName", pod},
                           {"PodNamespace", "default"},
                           {"PodUID", "uid-" + pod},
                           {"Node", node}})["Error"];
  }
  std::string Devices(const std::string& pod) {
    return TextAt(api_.pod(pod), {"metadata", "annotations", kChosenDevices});
  }

  ApiStandIn api_;
  Metrics metrics_;
  const std::unique_ptr<ApiServer> client_ = Must(ApiServer::Make({api_.url(), "/nowhere"}));
  Extender extender_{*client_, "aws.amazon.com/neuron", metrics_};
};

TEST_F(ExtenderTest, FindsNodesWithEnoughNeighbours) {
  api_.AddPod("a", {2});
  const json result = Filter("a");
  EXPECT_EQ(result["NodeNames"], json({"six"}));
  EXPECT_EQ(result["Error"], "");
  EXPECT_EQ(result["FailedNodes"]["two"],
            "no 2 neighbours free of aws.amazon.com/neuron (free: 0)");
}

TEST_F(ExtenderTest, CountsNeighboursAndNotDevices) {
  for (const char* name : {"a", "b", "c"}) {
    api_.AddPod(name, {1});
    EXPECT_EQ(Bind(name), "");
  }
  EXPECT_EQ(Devices("b"), "1");
  api_.Remove("b");  // 1 and 3 are free
  api_.AddPod("d", {2});
  EXPECT_EQ(Filter("d")["NodeNames"], json::array());
  EXPECT_THAT(Bind("d"), HasSubstr("no 2 neighbours free"));
  EXPECT_EQ(Devices("d"), "");
  api_.SetPhase("c", "Succeeded");
  EXPECT_EQ(Bind("d"), "");
  EXPECT_EQ(Devices("d"), "1,2");
  EXPECT_EQ(api_.pod("d")["spec"]["nodeName"], "six");
}

TEST_F(ExtenderTest, AddsUpThePodsContainers) {
  api_.AddPod("a", {1, 2});
  EXPECT_EQ(Bind("a"), "");
  EXPECT_EQ(Devices("a"), "0,1,2");
}

TEST_F(ExtenderTest, PrefersTheShortestRun) {
  api_.AddPod("a", {1});
  const json list =
      extender_.Prioritize({{"Pod", api_.pod("a")}, {"NodeNames", {"six", "two", "gone"}}});
  EXPECT_EQ(list, json({{{"Host", "six"}, {"Score", 7}},
                        {{"Host", "two"}, {"Score", 10}},
                        {{"Host", "gone"}, {"Score", 0}}}));
}

TEST_F(ExtenderTest, LeavesOutUnhealthyDevices) {
  Must(client_->Patch("/api/v1/nodes/six",
                      {{"metadata", {{"annotations", {{kHealthyDevices, "0,2,3"}}}}}}));
  api_.AddPod("a", {2});
  EXPECT_EQ(Bind("a"), "");
  EXPECT_EQ(Devices("a"), "2,3");
}

TEST_F(ExtenderTest, GivesNothingOfANodeWhosePodsItDoesNotKnow) {
  api_.AddPod("old", {1});
  api_.Bind("old", "six");
  api_.AddPod("a", {1});
  EXPECT_THAT(Filter("a")["FailedNodes"]["six"].get<std::string>(),
              HasSubstr("pod default/old has devices that were not chosen here"));
}

TEST_F(ExtenderTest, BindsOnlyPodsThatWantDevices) {
  api_.AddPod("plain", {});
  EXPECT_EQ(Filter("plain")["NodeNames"], json({"six", "two"}));
  EXPECT_THAT(Bind("plain"), HasSubstr("pod default/plain wants no aws.amazon.com/neuron"));
}

TEST_F(ExtenderTest, APodKeepsItsDevicesWhenItIsToBeBoundAgain) {
  api_.AddPod("a", {1});
  EXPECT_EQ(Bind("a"), "");
  EXPECT_THAT(Bind("a"), HasSubstr("pod default/a is bound to six"));
  EXPECT_EQ(Devices("a"), "0");
}

TEST_F(ExtenderTest, CountsWhatRunsBeforeAPodsContainers) {
  api_.AddPod("a", {1});
  api_.AddInitContainer("a", 2);
  EXPECT_EQ(Bind("a"), "");
  EXPECT_EQ(Devices("a"), "0,1");
}

TEST_F(ExtenderTest, SaysWhatTheApiServerSays) {
  api_.AddPod("a", {1});
  EXPECT_THAT(Bind("b"), HasSubstr("404: \"b\" not found"));
  EXPECT_THAT(Bind("a", "elsewhere"), HasSubstr("404: \"elsewhere\" not found"));
  EXPECT_THAT(Bind("a", "../namespaces"), HasSubstr("'../namespaces' names nothing in a cluster"));
  EXPECT_THAT(extender_
                  .Bind({{"PodName", "a"},
                         {"PodNamespace", "default"},
                         {"PodUID", "another"},
                         {"Node", "six"}})["Error"]
                  .get<std::string>(),
              HasSubstr("pod default/a is another one by now"));
  api_.Fail(503);
  EXPECT_THAT(Bind("a"), HasSubstr("503: out of order"));
  EXPECT_THAT(Filter("a")["Error"].get<std::string>(), HasSubstr("out of order"));
}

TEST_F(ExtenderTest, AnswersASchedulerThatSendsWholeNodes) {
  api_.AddPod("a", {4});
  const json nodes{{"items", {api_.node("six"), api_.node("two")}}};
  const json result =
      extender_.Filter({{"Pod", api_.pod("a")}, {"Nodes", nodes}, {"NodeNames", nullptr}});
  ASSERT_EQ(result["Nodes"]["items"].size(), 1U);
  EXPECT_EQ(result["Nodes"]["items"][0], api_.node("six"));
  EXPECT_TRUE(result["NodeNames"].is_null());
}

TEST_F(ExtenderTest, TakesNonsenseForNothing) {
  EXPECT_EQ(extender_.Filter(json::object())["NodeNames"], json::array());
  EXPECT_EQ(extender_.Prioritize({{"NodeNames", 7}, {"Pod", {{"spec", 3}}}}), json::array());
  EXPECT_THAT(extender_.Bind({{"PodName", 3}})["Error"].get<std::string>(),
              HasSubstr("'' names nothing"));
  EXPECT_FALSE(ParseObject(std::string(1000, '[')));
  EXPECT_FALSE(ParseObject("[]"));
  EXPECT_TRUE(ParseObject("{\"a\": \"[[\\\"[[\"}"));
}

TEST(ParseDevices, TakesNumbersWithCommas) {
  EXPECT_EQ(Must(ParseDevices("2,3")), (std::set<uint32_t>{2, 3}));
  EXPECT_EQ(Must(ParseDevices("")), std::set<uint32_t>{});
  for (const char* text : {"1-3", ",", "2,", "a", "-1", "99999999999", "1 ,2"})
    EXPECT_FALSE(ParseDevices(text)) << text;
}

TEST(ApiServer, SaysWhereNothingAnswers) {
  const auto api = Must(ApiServer::Make({"http://127.0.0.1:1", "/nowhere"}));
  EXPECT_THAT(api->Get("/").error().text,
              HasSubstr("the API server at http://127.0.0.1:1 does not answer"));
}

}  // namespace
}  // namespace nrtd::deploy
