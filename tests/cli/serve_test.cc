// flashmoe serve and top as programs: the line that says where, signals, exit codes.
#include <csignal>

#include "base/error.h"
#include "http/client.h"
#include "tests/cli/flashmoe.h"

namespace flashmoe::cli {
namespace {

class ServeTest : public TinyModelTest {
 protected:
  // A server on a free port, and its address.
  static std::string wait_for_address(ChildProcess& child) {
    static const std::string start = "listening on ";
    // The shortest line: a port of four digits.
    EXPECT_TRUE(
        child.wait_for_output(start.size() + std::string("http://127.0.0.1:1024\n").size()));
    const std::string& line = child.output();
    EXPECT_TRUE(line.starts_with(start) && line.ends_with('\n')) << line;
    return line.substr(start.size(), line.find('\n') - start.size());
  }
  Command serve(std::vector<std::string> more) {
    std::vector<std::string> arguments = {"serve", tiny_, "--port", "0", "--memory", "1GiB"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return command(std::move(arguments));
  }
};

TEST_F(ServeTest, ServesUntilItIsTold) {
  for (const int signal : {SIGINT, SIGTERM}) {
    ChildProcess child(serve({}));
    const std::string url = wait_for_address(child);
    const http::Client client(http::parse_url(url));
    const http::Response models = client.send({"GET", "/v1/models"});
    EXPECT_EQ(models.status, 200) << models.body;
    child.send(signal);
    const Outcome outcome = child.wait();
    EXPECT_EQ(outcome.exit_code, 0) << outcome;
    EXPECT_EQ(outcome.out, "listening on " + url + "\n");
    EXPECT_THROW(client.send({"GET", "/health"}), Error);
  }
}

// The client is told that its answer is cut short.
TEST_F(ServeTest, ASignalEndsAnswersThatGoOn) {
  ChildProcess child(serve({"--backend", "ref", "--threads", "1"}));
  const http::Client client(http::parse_url(wait_for_address(child)));
  int events = 0;
  std::string last;
  client.stream({"POST", "/v1/completions",
                 R"({"prompt": "Once", "max_tokens": 8000, "stream": true, "temperature": 2,
                     "logit_bias": {"4087": -100, "4089": -100}})"},
                [&](const http::SseEvent& event) {
                  if (++events == 3) child.send(SIGTERM);
                  last = event.data;
                  return true;
                });
  EXPECT_GE(events, 3);
  EXPECT_NE(last.find("shutting down"), std::string::npos) << last;
  EXPECT_EQ(child.wait().exit_code, 0);
}

TEST_F(ServeTest, TopShowsIt) {
  ChildProcess child(serve({"--api-key", "secret"}));
  const std::string url = wait_for_address(child);
  const Outcome text = flashmoe({"top", "--url", url, "--api-key", "secret"});
  EXPECT_EQ(text.exit_code, 0) << text;
  EXPECT_NE(text.out.find("tok/s generated"), std::string::npos) << text;
  EXPECT_EQ(text.out.find('\x1b'), std::string::npos) << text;
  const nlohmann::json json =
      json_output(flashmoe({"top", "--json", "--url", url}, "", {{"FLASHMOE_API_KEY", "secret"}}));
  EXPECT_TRUE(json.contains("queue"));
  expect_usage_error(flashmoe({"top", "--url", url}), {"--api-key"});
  child.send(SIGTERM);
  EXPECT_EQ(child.wait().exit_code, 0);
}

TEST_F(ServeTest, SaysWhatIsWrong) {
  expect_usage_error(flashmoe({"top", "--url", "https://here"}), {"TLS"});
  expect_failure(flashmoe({"serve", tiny_, "--host", "203.0.113.7", "--memory", "1GiB"}),
                 {"cannot listen", "--host"});
}

}  // namespace
}  // namespace flashmoe::cli
