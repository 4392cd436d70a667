#include "text/grammar/compiled_grammar.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "tests/text/small_tokenizer.h"
#include "text/grammar/gbnf.h"
#include "text/grammar_constraint.h"

namespace flashmoe::text {
namespace {

struct Fixture {
  explicit Fixture(std::vector<std::string> words, std::vector<std::string> special = {})
      : tokenizer(small_tokenizer(std::move(words), std::move(special))),
        vocabulary(std::make_shared<GrammarVocabulary>(tokenizer)) {}

  std::shared_ptr<CompiledGrammar> compile(std::string_view source) const {
    return std::make_shared<CompiledGrammar>(parse_gbnf(source, "test"), vocabulary);
  }
  int32_t id(std::string_view bytes) const {
    for (int32_t token = 0; token < tokenizer.vocab_size(); ++token) {
      if (tokenizer.token_bytes(token) == bytes) return token;
    }
    return -1;
  }

  Tokenizer tokenizer;
  std::shared_ptr<GrammarVocabulary> vocabulary;
};

bool is_set(const std::vector<uint64_t>& bits, int32_t token) {
  return (bits[static_cast<size_t>(token) / 64] >> (token % 64) & 1) != 0;
}

std::vector<uint64_t> allowed(GrammarConstraint* constraint, const Fixture& f,
                              int64_t remaining = 1 << 20) {
  std::vector<uint64_t> bits(f.vocabulary->mask_words() + 1, ~uint64_t{0});
  constraint->allowed(remaining, bits);
  EXPECT_EQ(bits.back(), 0u);
  return bits;
}

// Whether the text, byte by byte, is allowed and whole.
bool matches(const Fixture& f, const std::shared_ptr<CompiledGrammar>& grammar,
             std::string_view text) {
  GrammarConstraint constraint(grammar);
  for (const char c : text) {
    const int32_t token = static_cast<unsigned char>(c);
    if (!is_set(allowed(&constraint, f), token)) return false;
    constraint.accept(token);
  }
  EXPECT_EQ(constraint.may_end(), constraint.shortest_completion() == 0);
  return constraint.may_end();
}

TEST(Grammar, MatchesWhatItSays) {
  const Fixture f({});
  const struct {
    const char* source;
    std::vector<std::string> good, bad;
  } cases[] = {
      {R"(root ::= "yes" | "no" (" " reason)? # why
          reason ::= [^\n"]{2,3})",
       {"yes", "no", "no ab", "no \u00e9\U0001f600", "no abc"},
       {"", "ye", "yesno", "no ", "no a", "no abcd", "no a\n", "no a\xff", "no a\xc3"}},
      {"root ::= \"a\"* \"b\"+ .", {"bx", "aabb\u4e2d", "bbb"}, {"", "a", "aab", "bxy"}},
      {"root ::= [a-c-]{,2} [\\]\\\\]", {"]", "a-\\", "b]"}, {"aaa]", "d]", "a"}},
      {"root ::= (\"x\"?)* \"y\"", {"y", "xxy"}, {"x", "yx"}},
      {"root ::= a\na ::= \"(\" a \")\" | \"\"", {"", "(())"}, {"(", "(()", "())"}},
      {"root ::= \"a\" root | \"\"", {"", "aaaa"}, {"b", "ab"}},
      {"root ::= s s\ns ::= t t\nt ::= [0-9]", {"1234"}, {"123", "12345"}},
      {"root ::= \"\\x41\\u00e9\\U0001F600\\\"\"", {"A\u00e9\U0001f600\""}, {"A"}},
      {"root ::= [^]", {"x", "\n", "\u20ac"}, {"", "\xed\xa0\x80"}},
      // Ambiguous in exponentially many ways.
      {"root ::= p\np ::= \"a\" p \"a\" | \"a\" p \"b\" | \"c\"", {"aaacaba"}, {"aac", "ca"}},
  };
  for (const auto& c : cases) {
    const auto grammar = f.compile(c.source);
    for (const std::string& text : c.good)
      EXPECT_TRUE(matches(f, grammar, text)) << c.source << text;
    for (const std::string& text : c.bad)
      EXPECT_FALSE(matches(f, grammar, text)) << c.source << text;
  }
}

TEST(Grammar, MistakesAreNamedWithTheirPlace) {
  const Fixture f({});
  const struct {
    const char *source, *message;
  } cases[] = {
      {"", "no rule named 'root'"},
      {"a ::= \"x\"", "no rule named 'root'"},
      {"root ::= a", "'a' is used but not defined"},
      {"root ::= \"x", "test:1:12: the end of a literal is missing"},
      {"root ::= [a", "the end of a set is missing"},
      {"root ::= [b-a]", "disorder"},
      {"root ::=\n  (\"x\"\n", "')' is missing"},
      {"root ::= \"x\")", "')' without '('"},
      {"root ::= \"x\"{2,1}", "disorder"},
      {"root ::= \"x\"{99999999}", "at most"},
      {"root ::= \"\\q\"", "unknown escape"},
      {"root ::= \"\\ud800\"", "no such code point"},
      {"root ::= \"x\"\nroot ::= \"y\"", "test:2:1: the rule 'root' is defined twice"},
      {"root ::= *", "begins nothing"},
      {"root := \"x\"", "'::=' is missing"},
      {"root ::= root \"x\" | \"y\"", "left recursion"},
      {"root ::= \"x\"? a\na ::= [b]? root", "left recursion"},
      {"root ::= \"x\" root", "no finite text matches"},
      {"root ::= \"x\" []", "no finite text matches"},
      {"root ::= ((\"x\"{1000}){1000}){1000}", "too large"},
  };
  for (const auto& c : cases) {
    try {
      f.compile(c.source);
      ADD_FAILURE() << c.source;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      EXPECT_NE(std::string(error.what()).find(c.message), std::string::npos) << error.what();
    }
  }
}

TEST(Grammar, TokensOfManyBytes) {
  const Fixture f({"ab", "abc", "b", " \"", "\",", "bc"}, {"<s>"});
  const auto grammar = f.compile("root ::= \"ab\" [a-z\\x20]{0,3} \"\\\"\" (\",\" <s>)?");
  const auto id = [&](const char* word) { return f.id(word); };
  GrammarConstraint constraint(grammar);
  std::vector<uint64_t> bits = allowed(&constraint, f);
  EXPECT_TRUE(is_set(bits, id("ab")) && is_set(bits, id("abc")) && is_set(bits, 'a'));
  EXPECT_FALSE(is_set(bits, id("bc")) || is_set(bits, 'b') || is_set(bits, id("<s>")));
  constraint.accept(id("abc"));
  bits = allowed(&constraint, f);
  EXPECT_TRUE(is_set(bits, id("ab")) && is_set(bits, id(" \"")) && is_set(bits, id("\",")));
  EXPECT_FALSE(is_set(bits, id("abc")));
  constraint.accept(id("\","));
  bits = allowed(&constraint, f);
  EXPECT_FALSE(constraint.may_end());
  EXPECT_TRUE(is_set(bits, id("<s>")));
  EXPECT_FALSE(is_set(bits, '<'));
  constraint.accept(id("<s>"));
  EXPECT_TRUE(constraint.may_end());
  EXPECT_EQ(allowed(&constraint, f), std::vector<uint64_t>(f.vocabulary->mask_words() + 1));
}

TEST(Grammar, MasksAreThoseOfEveryTokenByItself) {
  // Words that meet the tables of sets at every length, and characters that are cut.
  std::vector<std::string> words;
  const std::vector<std::string> parts = {"a", "\u00e9", "\"", "\\", "\n", "\xe4\xbd", "z9", " "};
  for (const std::string& a : parts) {
    for (const std::string& b : parts) {
      words.push_back(a + b);
      for (const std::string& c : parts) words.push_back(a + b + c + a);
      words.push_back(a + a + a + a + b + a + a + a + a + a + a);
    }
  }
  const Fixture f(words, {"<s>"});
  const char* const sources[] = {
      "root ::= \"\\\"\" ([^\"\\\\\\x00-\\x1f] | \"\\\\\" [nt\"\\\\])* \"\\\"\" \"\\n\"?",
      "root ::= [^\\n]{3,7} \"\\n\" root?",
      "root ::= ([a-z\u00e9\u4f60]{2,20} | .{5}) .*",
      "w ::= [a-z] | \"\\\"\" | \" \"\nroot ::= w{0,9} \"9\" | \"aaaa\" root <s>",
  };
  uint64_t random = 1;
  for (const char* source : sources) {
    const auto grammar = f.compile(source);
    for (int walk = 0; walk < 20; ++walk) {
      GrammarConstraint constraint(grammar);
      for (int64_t left = 3 + walk * 2; left > 0; --left) {
        const bool ends = constraint.shortest_completion() <= left;
        const std::vector<uint64_t> bits = allowed(&constraint, f, left);
        std::vector<int32_t> choices;
        for (int32_t token = 0; token < f.tokenizer.vocab_size(); ++token) {
          // Byte by byte through a copy.
          GrammarConstraint other = constraint;
          bool good = true;
          std::vector<int32_t> bytes = {token};
          if (!f.tokenizer.is_special(token)) {
            bytes.clear();
            for (const char c : f.tokenizer.token_bytes(token)) {
              bytes.push_back(static_cast<unsigned char>(c));
            }
          }
          for (const int32_t byte : bytes) {
            good = good && is_set(allowed(&other, f), byte);
            if (good) other.accept(byte);
          }
          good = good && (!ends || other.shortest_completion() <= left - 1);
          ASSERT_EQ(is_set(bits, token), good) << source << " token " << token << " left " << left;
          if (good) choices.push_back(token);
        }
        if (choices.empty()) break;
        random = random * 6364136223846793005 + 1442695040888963407;
        constraint.accept(choices[(random >> 33) % choices.size()]);
      }
    }
  }
}

TEST(Grammar, AnAnswerIsWholeUnderAnyLimit) {
  const Fixture f({"ab", "aa", "aaaa", "{\"", "\":", "name", "\"}", "],", "[[", "]]"}, {"<s>"});
  const char* const sources[] = {
      R"(root ::= "{\"name\":" v "}"
v ::= "[" (v ("," v)*)? "]" | "\"" [a-z]{5,40} "\"")",
      "root ::= \"a\"{9} (\"b\" \"a\"{30} | \"c\")",
      "root ::= x{2,5} <s>\nx ::= \"(\" x \")\" | [\u00e0-\u00ff]",
  };
  uint64_t random = 7;
  for (const char* source : sources) {
    const auto grammar = f.compile(source);
    ASSERT_GT(grammar->shortest(), 0);
    for (int walk = 0; walk < 60; ++walk) {
      GrammarConstraint constraint(grammar);
      int64_t left = grammar->shortest() + walk / 2;
      while (left > 0) {
        const std::vector<uint64_t> bits = allowed(&constraint, f, left);
        std::vector<int32_t> choices;
        for (int32_t t = 0; t < f.tokenizer.vocab_size(); ++t) {
          if (is_set(bits, t)) choices.push_back(t);
        }
        if (choices.empty()) break;
        random = random * 6364136223846793005 + 1442695040888963407;
        constraint.accept(choices[(random >> 33) % choices.size()]);
        --left;
        ASSERT_LE(constraint.shortest_completion(), left);
      }
      EXPECT_TRUE(constraint.may_end()) << source;
    }
  }
}

TEST(Grammar, TheShortestTakesLongTokens) {
  const Fixture f({"{\"na", "me\"", "{\"name\"", ":\"", "\"}"});
  EXPECT_EQ(f.compile("root ::= \"{\\\"name\\\":\" \"\\\"\" [a-z]* \"\\\"}\"")->shortest(), 3);
}

TEST(Grammar, ForgottenStatesAreFoundAgain) {
  const Fixture f({"ab"});
  // Every count is a state of its own: more than may be remembered here.
  const auto grammar = std::make_shared<CompiledGrammar>(
      parse_gbnf("root ::= ([a-z] | \"\\\"\"){0,6000}", "test"), f.vocabulary, 20000);
  GrammarConstraint constraint(grammar), other(grammar);
  for (int i = 0; i < 300; ++i) {
    for (GrammarConstraint* each : {&constraint, &other}) {
      ASSERT_TRUE(is_set(allowed(each, f), f.id("ab")));
      each->accept(i % 3 == 0 ? f.id("ab") : 'a');
    }
  }
  EXPECT_TRUE(constraint.may_end());
}

}  // namespace
}  // namespace flashmoe::text
