// SPDX-License-Identifier: Apache-2.0
#include "text/chat_template.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include "text/encoders/deepseek_v32.h"

namespace sgl {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

const std::string kGoldens = std::string(SGLANG_SOURCE_DIR) + "/tests/goldens/chat_templates/";

Json ReadJson(const std::string& path) {
  auto json = ParseJson(ReadFile(path));
  EXPECT_TRUE(json.ok()) << path;
  return json.ok() ? *json : Json();
}

// The goldens' strftime_now: 2025-06-05 14:03:09 local time.
int64_t GoldenTime() {
  std::tm t{};
  t.tm_year = 125, t.tm_mon = 5, t.tm_mday = 5, t.tm_hour = 14, t.tm_min = 3, t.tm_sec = 9, t.tm_isdst = -1;
  return static_cast<int64_t>(std::mktime(&t));
}

Result<std::string> RenderText(const std::string& source, const Json& variables = Json(Json::Object())) {
  TRY(auto parsed, ChatTemplate::Parse(source));
  return parsed->RenderAt(variables, GoldenTime());
}

std::string Rendered(const std::string& source, const Json& variables = Json(Json::Object())) {
  const auto out = RenderText(source, variables);
  return out.ok() ? *out : "ERROR " + out.error().message;
}

std::string ErrorOf(const std::string& source, const Json& variables = Json(Json::Object())) {
  const auto out = RenderText(source, variables);
  return out.ok() ? "no error, but: " + *out : out.error().message;
}

void ExpectSame(const Json& golden, const Result<std::string>& out, const std::string& what) {
  if (golden.find("error") != nullptr) {
    EXPECT_FALSE(out.ok()) << what << "\nwants an error: " << golden.get_string("error", "") << "\ngot: " << (out.ok() ? *out : "");
  } else {
    ASSERT_TRUE(out.ok()) << what << "\n" << out.error().message;
    EXPECT_EQ(golden.get_string("output", ""), *out) << what;
  }
}

TEST(ChatTemplateGolden, SmallCases) {
  const Json cases = ReadJson(kGoldens + "cases.json"), variables = ReadJson(kGoldens + "case_variables.json");
  ASSERT_GT(cases.as_array().size(), 400u);
  for (const Json& c : cases.as_array()) {
    ExpectSame(c, RenderText(c.get_string("template", ""), variables), c.get_string("template", ""));
  }
}

TEST(ChatTemplateGolden, ModelTemplates) {
  const Json conversations = ReadJson(kGoldens + "conversations.json");
  const Json renders = ReadJson(kGoldens + "renders.json");
  ASSERT_GE(renders.as_array().size(), 80u);
  std::string loaded;
  std::unique_ptr<ChatTemplate> parsed;
  for (const Json& row : renders.as_array()) {
    const std::string name = row.get_string("template", ""), key = row.get_string("conversation", "");
    if (name != loaded) {
      auto fresh = ChatTemplate::Parse(ReadFile(kGoldens + "templates/" + name + ".jinja"));
      ASSERT_TRUE(fresh.ok()) << name << ": " << fresh.error().message;
      parsed = *std::move(fresh);
      loaded = name;
    }
    ExpectSame(row, parsed->RenderAt(conversations[key], GoldenTime()), name + " / " + key);
  }
}

// For tools/make_template_goldens.py --check; without its variables there is nothing to answer.
TEST(ChatTemplateDriver, Answers) {
  const char *asked = std::getenv("SGLANG_TEMPLATE_ASKED"), *answered = std::getenv("SGLANG_TEMPLATE_ANSWERED");
  if (asked == nullptr || answered == nullptr) return;
  std::ifstream in(asked);
  std::ofstream out(answered);
  for (std::string line; std::getline(in, line);) {
    const auto row = ParseJson(line);
    ASSERT_TRUE(row.ok()) << line;
    const std::string source = row->get_string("template", "");
    const auto text =
        source == kDeepSeekV32 ? MakeDeepSeekV32(false)->Render((*row)["variables"]) : RenderText(source, (*row)["variables"]);
    Json answer;
    answer.Set(text.ok() ? "output" : "error", text.ok() ? *text : text.error().message);
    const auto parsed = ChatTemplate::Parse(source);
    if (parsed.ok()) answer.Set("parts", (*parsed)->wants_content_parts());
    out << DumpJson(answer) << "\n";
  }
}

TEST(ChatTemplateErrors, NameTheLine) {
  EXPECT_EQ("line 2: expected 'elif' or 'else' or 'endif', found 'endfor'", ErrorOf("{% if x %}\n{% endfor %}"));
  EXPECT_EQ("line 3: unexpected end of template, looking for 'endfor' or 'else'; the innermost block that needs to be closed is 'for'",
            ErrorOf("\n\n{% for x in y %}"));
  EXPECT_EQ("line 2: No filter named 'nope'.", ErrorOf("\n{{ x|nope }}"));
  EXPECT_EQ("line 2: 'x' is undefined", ErrorOf("\n{{ x.y }}"));
  EXPECT_EQ("line 3: 'dict object' has no attribute 'y'", ErrorOf("{% set x = {} %}\n\n{{ x.y.z }}"));
  EXPECT_EQ("roles must alternate", ErrorOf("\n{{ raise_exception('roles must alternate') }}"));
  EXPECT_EQ("line 1: tag 'include' is not supported in chat templates", ErrorOf("{% include 'x' %}"));
  EXPECT_EQ("line 1: Missing end of comment tag", ErrorOf("{# x"));
  EXPECT_EQ("line 1: integer overflow: the result does not fit in 64 bits", ErrorOf("{{ 9223372036854775807 + 1 }}"));
  const auto out = RenderText("{{ x.y }}");
  ASSERT_FALSE(out.ok());
  EXPECT_EQ(Code::kInvalidArgument, out.error().code);
}

TEST(ChatTemplateErrors, IntegersBeyond64BitsAreErrors) {
  for (const char* text :
       {"{{ 9223372036854775808 }}", "{{ 10 ** 19 }}", "{{ 2 ** 63 }}", "{{ -9223372036854775807 - 2 }}", "{{ 1e300|int }}",
        "{{ '99999999999999999999'|int }}", "{{ (-9223372036854775807 - 1) // -1 }}", "{{ -(-9223372036854775807 - 1) }}",
        "{{ (-9223372036854775807 - 1)|abs }}", "{{ [9223372036854775807, 1]|sum }}"}) {
    EXPECT_FALSE(RenderText(text).ok()) << text;
  }
  EXPECT_EQ("0", Rendered("{{ (-9223372036854775807 - 1) % -1 }}"));
}

TEST(ChatTemplateErrors, SandboxHidesWhatChangesValues) {
  for (const char* text :
       {"{{ [].append(1) }}", "{{ {}.update({}) }}", "{{ {'a': 1}.pop('a') }}", "{% set x = [1] %}{{ x.extend([2]) }}"}) {
    EXPECT_NE(std::string::npos, ErrorOf(text).find("is unsafe")) << text << ErrorOf(text);
  }
}

TEST(ChatTemplateLimits, HostileTemplatesEndQuickly) {
  const std::pair<const char*, std::string> cases[] = {
      {"range", "{% for i in range(10**9) %}x{% endfor %}"},
      {"nested ranges",
       "{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(99999) %}{% endfor %}{% endfor %}{% endfor %}"},
      {"multiplication", "{{ 'a' * 10**9 }}"},
      {"multiplication of lists", "{{ [1] * 10**12 }}"},
      {"macro", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"},
      {"macro through arguments", "{% macro m(f) %}{{ f(f) }}{% endmacro %}{{ m(m) }}"},
      {"call blocks", "{% macro m() %}{% call m() %}{% endcall %}{% endmacro %}{{ m() }}"},
      {"recursive loop", "{% set ns = namespace() %}{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"},
      {"string doubling", "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}"},
      {"list doubling", "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}"},
      {"nested captures",
       "{% set a = 'a' * 15000000 %}{% macro m(n) %}{{ a }}{% if n %}{% set b = m(n - 1) %}{% endif %}{% endmacro %}{% set x = m(60) %}"},
      {"replace", "{% set a = 'a' * 1000000 %}{{ a.replace('a', a) }}"},
      {"join", "{% set a = 'a' * 1000000 %}{{ range(99999)|map('replace', 'x', a)|join(a) }}"},
      {"output", "{% set a = 'a' * 1000000 %}{% for i in range(99999) %}{{ a }}{% endfor %}"},
      {"padding", "{{ 'x'.center(10**12) }}"},
      {"format", "{{ '%999999999999d' % 1 }}{{ '{:>999999999}'.format(1) }}{% for i in range(9999) %}{{ '%999999d' % 1 }}{% endfor %}"},
      {"deep list", "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}"},
      {"deep namespaces", "{% set ns = namespace(l=1) %}{% for i in range(99999) %}{% set ns.l = namespace(a=ns.l) %}{% endfor %}{{ ns }}"},
      {"deep iterators",
       "{% set ns = namespace(l=['a']) %}{% for i in range(99999) %}{% set ns.l = ns.l|map('upper') %}{% endfor %}{{ ns.l|list }}"},
      {"self", "{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns }}"},
      {"power", "{{ 2 ** 99999999 }}"},
      {"indent", "{{ ('a\n' * 100000)|indent(10**6) }}"},
      {"json", "{{ [[[[1]]]]|tojson(indent=10**9) }}"},
      {"search", "{% set a = 'a' * 3000000 %}{% for i in range(99999) %}{{ ('b' ~ a) in a }}{% endfor %}"},
      {"sort", "{% for i in range(99999) %}{{ range(99999)|sort|first }}{% endfor %}"},
      {"equality",
       "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}"
       "{% endfor %}{{ ns.a == ns.b }}"},
      {"printing", "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a }}"},
      {"parentheses", "{{ " + std::string(100000, '(') + "1" + std::string(100000, ')') + " }}"},
      {"brackets", "{{ " + std::string(100000, '[') + " }}"},
      {"minus", "{{ " + std::string(100000, '-') + "1 }}"},
      {"plus",
       [] {
         std::string s = "{{ 1";
         for (int i = 0; i < 100000; ++i) s += "+1";
         return s + " }}";
       }()},
      {"nested ifs",
       [] {
         std::string s;
         for (int i = 0; i < 100000; ++i) s += "{% if 1 %}";
         return s;
       }()},
  };
  for (const auto& [name, source] : cases) {
    const auto start = std::chrono::steady_clock::now();
    const auto out = RenderText(source);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    EXPECT_FALSE(out.ok()) << name;
    EXPECT_LT(seconds, 20) << name;  // 2 s of its own; the rest is for slow, busy machines
  }
}

TEST(ChatTemplateLimits, DeepStructuresThatAreOnlyBuiltAreFreedWithoutRecursion) {
  EXPECT_EQ("ok", Rendered("{% set ns = namespace(l=1) %}{% for i in range(99999) %}{% set ns.l = namespace(a=ns.l) %}{% endfor %}ok"));
  EXPECT_EQ("ok", Rendered("{% set ns = namespace() %}{% set ns.self = ns %}{% macro m() %}{% endmacro %}{% set ns.m = m %}ok"));
}

TEST(ChatTemplate, IsSharedByThreads) {
  auto parsed = ChatTemplate::Parse("{% for m in messages %}{{ m.role ~ ':' ~ m.content|trim|upper }};{% endfor %}");
  ASSERT_TRUE(parsed.ok());
  const Json variables = *ParseJson(R"({"messages":[{"role":"user","content":" hi "},{"role":"assistant","content":"é"}]})");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 200; ++k) EXPECT_EQ("user:HI;assistant:É;", *(*parsed)->Render(variables));
    });
  }
  for (std::thread& t : threads) t.join();
}

TEST(ChatTemplate, ContentFormat) {
  const std::pair<const char*, bool> cases[] = {
      {"{% for m in messages %}{{ m.content }}{% endfor %}", false},
      {"{% for message in messages %}{% for c in message.content %}{% endfor %}{% endfor %}", true},
      {"{% for message in messages %}{% for c in message['content'] %}{% endfor %}{% endfor %}", true},
      {"{% for c in msg.content|selectattr('type', 'equalto', 'text') %}{% endfor %}", true},
      {"{% for c in m['content'][1:]|list %}{% endfor %}", true},
      {"{% macro f(m) %}{% if m.content is iterable %}{% for c in m.content[::-1] %}{% endfor %}{% endif %}{% endmacro %}", true},
      {"{% for c in messages[0].content %}{% endfor %}", false},
      {"{% for c in message.contents %}{% endfor %}", false},
      {"{# vision #}", true},
      {"<audio>", true},
  };
  for (const auto& [source, wanted] : cases) {
    const auto parsed = ChatTemplate::Parse(source);
    ASSERT_TRUE(parsed.ok()) << source;
    EXPECT_EQ(wanted, (*parsed)->wants_content_parts()) << source;
  }
}

TEST(ChatTemplate, Builtins) {
  const Json variables = *ParseJson(R"({"messages":[{"role":"system","content":"S"},{"role":"user","content":"U"},
    {"role":"assistant","content":"A"},{"role":"user","content":"V"}],"add_generation_prompt":true,"bos_token":"<s>","eos_token":"</s>"})");
  EXPECT_EQ(
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n<|im_start|>user\nV<|im_end|>\n"
      "<|im_start|>assistant\n",
      Rendered(std::string(BuiltinChatTemplate("chatml")), variables));
  EXPECT_EQ("<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nU [/INST] A </s><s>[INST] V [/INST]",
            Rendered(std::string(BuiltinChatTemplate("llama-2")), variables));
  EXPECT_EQ("S USER: U ASSISTANT: A</s>USER: V ASSISTANT:", Rendered(std::string(BuiltinChatTemplate("vicuna")), variables));
  const auto out = [&](const char* name) { return Rendered(std::string(BuiltinChatTemplate(name)), variables); };
  EXPECT_EQ("S USER: U ASSISTANT: A</s>USER: V ASSISTANT:", out("vicuna_v1.1"));
  EXPECT_EQ("<s>[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]U[/INST]A</s>[INST]V[/INST]", out("mistral"));
  EXPECT_EQ(
      "<s><start_of_turn>user\nS\n\nU<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n<start_of_turn>user\nV<end_of_turn>\n<start_of_"
      "turn>model\n",
      out("gemma-it"));
  EXPECT_EQ(
      "<s><|header_start|>system<|header_end|>\n\nS<|eot|><|header_start|>user<|header_end|>\n\nU<|eot|><|header_start|>assistant<|header_"
      "end|>\n\nA<|eot|>"
      "<|header_start|>user<|header_end|>\n\nV<|eot|><|header_start|>assistant<|header_end|>\n\n",
      out("llama-4"));
  EXPECT_EQ("S<|user|>U<|end|><|assistant|>A<|end|><|user|>V<|end|><|assistant|>", out("phi-4-mm"));
  EXPECT_EQ("System: S\nUser: U\nAssistant: A\nUser: V\nAssistant:", out("plain"));
  EXPECT_EQ("", BuiltinChatTemplate("no such template"));
  const std::vector<std::string_view> names = BuiltinChatTemplates();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  for (const std::string_view name : names) {
    const auto parsed = ChatTemplate::Parse(std::string(BuiltinChatTemplate(name)));
    ASSERT_TRUE(parsed.ok()) << name;
    // Without a system message, with contents that are null, without tokens.
    for (const char* other :
         {R"({"messages":[]})", R"({"messages":[{"role":"user","content":null},{"role":"assistant","content":null}],"bos_token":""})"})
      EXPECT_TRUE((*parsed)->Render(*ParseJson(other)).ok()) << name;
  }
}

TEST(ChatTemplate, BuiltinsHaveTheSystemMessagesOfSglang) {
  const Json variables = *ParseJson(R"({"messages":[{"role":"user","content":"U"}],"add_generation_prompt":true})");
  const auto out = [&](const char* name) { return Rendered(std::string(BuiltinChatTemplate(name)), variables); };
  EXPECT_EQ("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n",
            out("chatml"));
  EXPECT_EQ("<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n", out("internlm2-chat"));
  EXPECT_EQ("<s>[INST] U [/INST]", out("llama-2"));
  EXPECT_EQ(0u, out("vicuna").find("A chat between a curious user"));
}

TEST(ChatTemplate, InvalidUtf8) {
  EXPECT_EQ("\xEF\xBF\xBDx", Rendered("\xFFx"));
  const Json variables(Json::Object{{"s", Json("a\xFF\xC3")}});
  EXPECT_TRUE(RenderText("{{ s|upper }}{{ s[::-1] }}{{ s|length }}{{ s|tojson(ensure_ascii=true) }}{{ [s] }}{{ s|title }}{{ s.split() }}",
                         variables)
                  .ok());
}

// Whatever a template looks like, it ends with a text or an error.
class RandomTemplate {
 public:
  explicit RandomTemplate(uint32_t seed) : random_(seed) {}
  std::string Body(int depth) {
    std::string out;
    for (int n = Pick(4); n >= 0; --n) out += Statement(depth);
    return out;
  }

 private:
  int Pick(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }
  std::string One(std::initializer_list<const char*> from) { return *(from.begin() + Pick(static_cast<int>(from.size()))); }
  std::string Name() { return One({"a", "b", "messages", "m", "loop", "ns", "x", "caller"}); }
  std::string Statement(int depth) {
    if (depth <= 0) return "{{ " + Expression(1) + " }}";
    switch (Pick(10)) {
      case 0: return "{% if " + Expression(depth) + " %}" + Body(depth - 1) + "{% else %}" + Body(depth - 1) + "{% endif %}";
      case 1:
        return "{% for a in " + Expression(depth) + One({"", " recursive", " if a"}) + " %}" + Body(depth - 1) +
               One({"", "{% break %}", "{% else %}x"}) + "{% endfor %}";
      case 2: return "{% set " + One({"a", "b", "ns.a", "a, b", "x"}) + " = " + Expression(depth) + " %}";
      case 3: return "{% set x %}" + Body(depth - 1) + "{% endset %}";
      case 4: return "{% macro m(a, b=" + Expression(1) + ") %}" + Body(depth - 1) + "{% endmacro %}";
      case 5: return "{% call(a) m(1) %}" + Body(depth - 1) + "{% endcall %}";
      case 6: return "{% filter " + One({"upper", "trim", "replace('a', 'b')", "indent"}) + " %}" + Body(depth - 1) + "{% endfilter %}";
      case 7: return "{% set ns = namespace(a=" + Expression(1) + ") %}";
      case 8: return " text\n";
      default: return "{{ " + Expression(depth) + " }}";
    }
  }
  std::string Expression(int depth) {
    if (depth <= 0)
      return One({"1", "-7", "2.5", "'aé'", "none", "true", "[]", "[3, 1, 2]", "{'a': 1}", "messages", "a", "b", "ns.a", "x", "loop.index",
                  "loop"});
    const std::string e = Expression(depth - 1), f = Expression(depth - 2);
    switch (Pick(9)) {
      case 0: return "(" + e + One({" + ", " - ", " * ", " / ", " // ", " % ", " ~ ", " == ", " < ", " in ", " and ", " or "}) + f + ")";
      case 1:
        return e + One({"|upper",
                        "|list",
                        "|tojson",
                        "|length",
                        "|first",
                        "|sort",
                        "|join(',')",
                        "|map('upper')|list",
                        "|items|list",
                        "|int",
                        "|unique",
                        "|batch(2)|list",
                        "|groupby('role')",
                        "|selectattr('role')|list",
                        "|string",
                        "|reverse|list",
                        "|last",
                        "|sum",
                        "|min",
                        "|round"});
      case 2:
        return e +
               One({".role", ".content", "[0]", "['a']", "[::-1]", "[1:]", ".items()", ".split('a')", ".strip()", ".get('a')", ".upper()"});
      case 3: return "[" + e + ", " + f + "]";
      case 4: return "{'k': " + e + "}";
      case 5: return "(" + e + " if " + f + " else " + f + ")";
      case 6: return e + One({" is defined", " is none", " is string", " is odd", " is iterable", " is mapping"});
      case 7: return One({"m", "caller", "loop", "range", "namespace", "dict"}) + "(" + f + ")";
      default: return "not " + e;
    }
  }
  std::mt19937 random_;
};

TEST(ChatTemplateProperty, RandomTemplatesEnd) {
  const Json variables = *ParseJson(R"({"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":null}],"b":[1,2,3]})");
  int good = 0;
  for (uint32_t seed = 1; seed <= 3000; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const auto parsed = ChatTemplate::Parse(RandomTemplate(seed).Body(4));
    if (!parsed.ok()) continue;
    const auto out = (*parsed)->RenderAt(variables, 0);
    good += out.ok() ? 1 : 0;
    const auto again = (*parsed)->RenderAt(variables, 0);
    ASSERT_EQ(out.ok(), again.ok());
    if (out.ok()) {
      ASSERT_EQ(*out, *again);
    }
  }
  EXPECT_GT(good, 100);
}

TEST(ChatTemplateSpeed, TenMessages) {
  auto parsed = ChatTemplate::Parse(ReadFile(kGoldens + "templates/smollm2.jinja"));
  ASSERT_TRUE(parsed.ok());
  Json messages;
  for (int i = 0; i < 10; ++i) {
    Json message;
    message.Set("role", i % 2 == 0 ? "user" : "assistant");
    message.Set("content", "What is the capital of France, and how many people live there?");
    messages.Push(message);
  }
  Json variables;
  variables.Set("messages", messages);
  variables.Set("add_generation_prompt", true);
  const std::clock_t start = std::clock();  // CPU time: other processes do not count
  constexpr int kTimes = 500;
  for (int i = 0; i < kTimes; ++i) ASSERT_TRUE((*parsed)->Render(variables).ok());
  const double us = 1e6 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC / kTimes;
  RecordProperty("microseconds", fmt::format("{:.1f}", us));
  EXPECT_LT(us, 5000);  // about 10 in a release build; the bound is for sanitizers on a busy machine
}

}  // namespace
}  // namespace sgl
