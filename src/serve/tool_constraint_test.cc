// SPDX-License-Identifier: Apache-2.0
#include "serve/api/tool_constraint.h"

#include <gtest/gtest.h>

#include "serve/api/chat_format.h"

namespace sgl {
namespace {

using Choice = ToolDemand::Choice;

std::shared_ptr<const ToolSet> Tools(const char* json) { return FunctionsOf(*ParseJson(json), false); }

constexpr const char* kTwo =
    R"([{"function":{"name":"f","parameters":{"type":"dict","properties":{"a":{"type":"int"}}}}},{"function":{"name":"g"}}])";

ToolConstraint Constrain(const char* tools, const char* format, const ToolDemand& demand) {
  Result<ToolConstraint> constraint = ConstrainTools(*Tools(tools), FindToolFormat(format), demand);
  EXPECT_TRUE(constraint.ok());
  return constraint.ok() ? *constraint : ToolConstraint{};
}

TEST(ToolConstraint, RequiredInTheFormatsOwnTags) {
  const ToolConstraint c = Constrain(kTwo, "hermes", {.choice = Choice::kRequired});
  EXPECT_EQ(
      c.structural_tag,
      R"({"type":"structural_tag","format":{"type":"tags_with_separator","tags":[{"type":"tag","begin":"<tool_call>\n{\"name\": \"f\", \"arguments\": ","content":{"type":"json_schema","json_schema":{"type":"object","properties":{"a":{"type":"integer"}}}},"end":"}\n</tool_call>"},{"type":"tag","begin":"<tool_call>\n{\"name\": \"g\", \"arguments\": ","content":{"type":"json_schema","json_schema":{"type":"object"}},"end":"}\n</tool_call>"}],"separator":"\n","at_least_one":true,"stop_after_first":false}})");
  EXPECT_FALSE(c.forced_list);
  EXPECT_EQ(c.json_schema, "");
}

TEST(ToolConstraint, RequiredAsAList) {
  const ToolConstraint c = Constrain(kTwo, "", {.choice = Choice::kRequired, .parallel = false});
  EXPECT_EQ(
      c.json_schema,
      R"({"type":"array","minItems":1,"maxItems":1,"items":{"anyOf":[{"type":"object","properties":{"name":{"type":"string","enum":["f"]},"parameters":{"type":"object","properties":{"a":{"type":"integer"}}}},"required":["name","parameters"],"additionalProperties":false},{"type":"object","properties":{"name":{"type":"string","enum":["g"]},"parameters":{"type":"object"}},"required":["name","parameters"],"additionalProperties":false}]}})");
  EXPECT_TRUE(c.forced_list);
  EXPECT_TRUE(Constrain(kTwo, "hermes", {.choice = Choice::kRequired, .as_list = true}).forced_list);
}

TEST(ToolConstraint, Named) {
  const ToolConstraint c = Constrain(kTwo, "", {.choice = Choice::kNamed, .name = "g"});
  EXPECT_EQ(
      c.json_schema,
      R"({"type":"array","minItems":1,"items":{"type":"object","properties":{"name":{"type":"string","enum":["g"]},"parameters":{"type":"object"}},"required":["name","parameters"],"additionalProperties":false}})");
  const ToolConstraint tags = Constrain(kTwo, "qwen", {.choice = Choice::kNamed, .name = "g", .parallel = false});
  EXPECT_EQ(tags.structural_tag.find("\"f\\\""), std::string::npos);
  EXPECT_NE(tags.structural_tag.find(R"("stop_after_first":true)"), std::string::npos);
}

TEST(ToolConstraint, AutoEnforcesOnlyWhatIsStrict) {
  EXPECT_EQ(Constrain(kTwo, "hermes", {}).structural_tag, "");
  const char* strict =
      R"([{"function":{"name":"f","strict":true,"parameters":{"type":"object","x":1}}},{"function":{"name":"g","parameters":{"y":1}}}])";
  const ToolConstraint c = Constrain(strict, "hermes", {});
  EXPECT_NE(c.structural_tag.find(R"({"type":"triggered_tags","triggers":["<tool_call>"],"tags":[)"), std::string::npos);
  EXPECT_NE(c.structural_tag.find(R"("x":1)"), std::string::npos);
  EXPECT_EQ(c.structural_tag.find(R"("y":1)"), std::string::npos);
  EXPECT_NE(c.structural_tag.find(R"("at_least_one":false)"), std::string::npos);
  EXPECT_NE(Constrain(strict, "hermes", {.strict_level = 2}).structural_tag.find(R"("y":1)"), std::string::npos);
  EXPECT_NE(Constrain(kTwo, "hermes", {.strict_level = 1}).structural_tag, "");
  EXPECT_EQ(Constrain(strict, "gemma4", {}).structural_tag, "");
}

TEST(ToolConstraint, DefinitionsMeetAtTheRoot) {
  const char* same = R"([{"function":{"name":"f","parameters":{"$defs":{"d":{"type":"string"}},"$ref":"#/$defs/d"}}},
                         {"function":{"name":"g","parameters":{"$defs":{"d":{"type":"string"},"e":{}}}}}])";
  const ToolConstraint c = Constrain(same, "", {.choice = Choice::kRequired});
  EXPECT_NE(c.json_schema.find(R"("parameters":{"$ref":"#/$defs/d"})"), std::string::npos) << c.json_schema;
  EXPECT_NE(c.json_schema.find(R"("$defs":{"d":{"type":"string"},"e":{}})"), std::string::npos) << c.json_schema;
  const char* other = R"([{"function":{"name":"f","parameters":{"$defs":{"d":{"type":"string"}}}}},
                          {"function":{"name":"g","parameters":{"$defs":{"d":{"type":"integer"}}}}}])";
  const Result<ToolConstraint> conflict = ConstrainTools(*Tools(other), nullptr, {.choice = Choice::kRequired});
  ASSERT_FALSE(conflict.ok());
  EXPECT_EQ(conflict.error().message, "Tool definition 'd' has multiple schemas, which is not supported.");
}

}  // namespace
}  // namespace sgl
