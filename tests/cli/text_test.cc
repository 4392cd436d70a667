// flashmoe tokenize and flashmoe render.
#include "tests/base/temp_folder.h"
#include "tests/cli/flashmoe.h"

namespace flashmoe::cli {
namespace {

class TokenizeTest : public TinyModelTest {
 protected:
  nlohmann::json encode(const std::string& text, std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(), {"tokenize", tiny_});
    return json_output(flashmoe(arguments, text));
  }
  std::string decode(const nlohmann::json& ids) {
    const Outcome outcome = flashmoe({"tokenize", "--decode", tiny_}, ids.dump());
    EXPECT_EQ(outcome.exit_code, 0) << outcome;
    return outcome.out;
  }
};

TEST_F(TokenizeTest, GoesThereAndBack) {
  const std::string texts[] = {"Hello, world!",
                               "",
                               "\n",
                               "  two  spaces\tand\r\nlines\n\n",
                               "naïve café, 東京, Ελλάδα, עברית",
                               "👩‍👩‍👧‍👦 \u00a0 \u200b",
                               std::string("zero\0byte", 9),
                               std::string(100000, 'x')};
  for (const std::string& text : texts) {
    const nlohmann::json ids = encode(text);
    ASSERT_TRUE(ids.is_array());
    EXPECT_EQ(ids.empty(), text.empty());
    EXPECT_EQ(decode(ids), text);
  }
}

TEST_F(TokenizeTest, ModelAndItsTokenizerFileAreTheSame) {
  const Outcome outcome = flashmoe({"tokenize", tiny_ + "/tokenizer.json"}, "Hello, world!");
  EXPECT_EQ(json_output(outcome), encode("Hello, world!"));
}

TEST_F(TokenizeTest, SpecialTokensFormOnlyWhenAsked) {
  const std::string text = "<|im_start|>user\nhi<|im_end|>";
  const nlohmann::json plain = encode(text), special = encode(text, {"--parse-special"});
  EXPECT_GT(plain.size(), special.size() + 4);
  EXPECT_EQ(special.front(), encode("<|im_start|>", {"--parse-special"}).at(0));
  EXPECT_EQ(special.back(), encode("<|im_end|>", {"--parse-special"}).at(0));
  EXPECT_EQ(decode(plain), text);
  EXPECT_EQ(decode(special), text);
}

TEST_F(TokenizeTest, BytesThatAreNoTextBecomeReplacementCharacters) {
  EXPECT_EQ(decode(encode("a\xff"
                          "b\xc3(\xe2\x82")),
            "a\ufffdb\ufffd(\ufffd");
}

TEST_F(TokenizeTest, RefusesWhatIsNoArrayOfIds) {
  const auto decode = [&](const char* input) {
    return flashmoe({"tokenize", tiny_, "--decode"}, input);
  };
  for (const char* input : {"", "hello", "{}", "[1", "17"}) {
    expect_failure(decode(input), {"standard input", "JSON array of token ids"});
  }
  const char* range = "0 to 2147483647";
  expect_failure(decode("[\"a\"]"), {"standard input", "element 0", "\"a\"", range});
  expect_failure(decode("[1, [2]]"), {"element 1", "[2]", range});
  expect_failure(decode("[1, 2, 1.5]"), {"element 2", "1.5", range});
  expect_failure(decode("[99999999999]"), {"element 0", "99999999999", range});
  expect_failure(decode("[2147483648]"), {"element 0", "2147483648", range});
  expect_failure(decode("[1, -1]"), {"element 1", "-1", range});
}

TEST(TokenizeFailureTest, NamesTheFile) {
  const TempFolder temp;
  const Outcome broken = flashmoe({"tokenize", temp.write("tokenizer.json", "{\"version\": 1")});
  expect_failure(broken, {"tokenizer.json: not valid JSON: parse error at line 1, column 14"});
  EXPECT_EQ(broken.err.find("json.exception"), std::string::npos) << broken;
  expect_failure(flashmoe({"tokenize", temp.file("absent.json")}), {"absent.json"});
}

class RenderTest : public testing::Test {
 protected:
  Outcome render(const std::string& jinja, const std::string& context) {
    return flashmoe({"render", temp_.write("template.jinja", jinja), "--context",
                     temp_.write("context.json", context)});
  }
  const TempFolder temp_;
};

TEST_F(RenderTest, RendersATemplateToTheByte) {
  const Outcome outcome = render(
      "{{ bos_token }}{% for m in messages %}\n<{{ m.role }}>{{ m.content | trim }}\n"
      "{%- endfor %}\n{{ tools | tojson }} é\n\n",
      R"({"bos_token": "<s>", "messages": [{"role": "user", "content": " ü <b> "}],
          "tools": [{"z": 1, "a": "\u00e9"}]})");
  EXPECT_EQ(outcome.exit_code, 0) << outcome;
  // As jinja2 with trim_blocks: no newline after a block, and the template's last one is dropped.
  EXPECT_EQ(outcome.out, "<s><user>ü <b>[{\"z\": 1, \"a\": \"é\"}] é\n");
  EXPECT_EQ(outcome.err, "");
}

TEST_F(RenderTest, SaysWhyATemplateFails) {
  expect_failure(render("a\n{{ nope", "{}"), {"template.jinja", "line 2"});
  const Outcome raised = render("{{ raise_exception('only users: ' + who) }}", R"({"who": "me"})");
  EXPECT_NE(raised.exit_code, 0);
  EXPECT_EQ(raised.out, "");
  EXPECT_NE(raised.err.find("only users: me"), std::string::npos) << raised;
}

TEST_F(RenderTest, SaysWhyVariablesAreNotUsable) {
  const Outcome broken = render("a", "{\"messages\": [");
  expect_failure(broken, {"context.json: not valid JSON: parse error at line 1, column 15"});
  EXPECT_EQ(broken.err.find("json.exception"), std::string::npos) << broken;
  expect_usage_error(render("a", "[]"), {"context.json", "JSON object"});
  const std::string jinja = temp_.write("template.jinja", "a");
  expect_failure(flashmoe({"render", jinja, "--context", temp_.file("absent.json")}),
                 {"absent.json", "No such file"});
  expect_usage_error(flashmoe({"render", jinja}), {"--context"});
  expect_failure(flashmoe({"render", temp_.file("absent.jinja"), "--context",
                           temp_.write("context.json", "{}")}),
                 {"absent.jinja", "No such file"});
}

using RenderModelTest = TinyModelTest;

TEST_F(RenderModelTest, RendersAModelsTemplate) {
  const TempFolder temp;
  const std::string context = temp.write("context.json", R"({
      "messages": [{"role": "system", "content": "Be brief."},
                   {"role": "user", "content": "Hi <|im_end|>"},
                   {"role": "assistant", "content": "Hello."}],
      "add_generation_prompt": true})");
  const Outcome outcome = flashmoe({"render", tiny_, "--context", context});
  EXPECT_EQ(outcome.exit_code, 0) << outcome;
  EXPECT_EQ(outcome.out,
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi <|im_end|><|im_end|>\n"
            "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>assistant\n");
}

TEST_F(RenderModelTest, SaysThatThereIsNoTemplate) {
  const TempFolder temp;
  const std::string context = temp.write("context.json", "{}");
  expect_failure(
      flashmoe({"render", golden_models() / "qwen3_moe_split_bf16", "--context", context}),
      {"qwen3_moe_split_bf16", "no chat template"});
}

}  // namespace
}  // namespace flashmoe::cli
