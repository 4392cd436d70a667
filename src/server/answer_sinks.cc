#include "server/answer_sinks.h"

#include <utility>

namespace flashmoe::server {

namespace {

class WholeAnswerSink final : public AnswerSink {
 public:
  WholeAnswerSink(std::shared_ptr<http::Exchange> exchange, std::unique_ptr<AnswerEncoder> encoder,
                  std::vector<http::Header> headers)
      : exchange_(std::move(exchange)),
        encoder_(std::move(encoder)),
        headers_(std::move(headers)) {}

  void on_begin(int64_t) override {}
  void on_event(const Event& event) override { answer_.add(event); }
  void on_end(const Usage& usage) override {
    answer_.usage = usage;
    http::Response response;
    response.body = dump(encoder_->whole(answer_));
    response.headers = std::move(headers_);
    exchange_->respond(std::move(response));
  }
  void on_error(const ApiError& error) override {
    exchange_->respond(error_response(error, encoder_->error_body(error), std::move(headers_)));
  }

 private:
  const std::shared_ptr<http::Exchange> exchange_;
  const std::unique_ptr<AnswerEncoder> encoder_;
  std::vector<http::Header> headers_;
  Answer answer_;
};

class StreamAnswerSink final : public AnswerSink {
 public:
  StreamAnswerSink(std::shared_ptr<http::Exchange> exchange, std::unique_ptr<AnswerEncoder> encoder,
                   std::vector<http::Header> headers)
      : exchange_(std::move(exchange)),
        encoder_(std::move(encoder)),
        headers_(std::move(headers)) {}

  void on_begin(int64_t prompt_tokens) override {
    http::Response head;
    head.content_type = "text/event-stream; charset=utf-8";
    head.headers = std::move(headers_);
    head.headers.emplace_back("cache-control", "no-cache");
    head.headers.emplace_back("x-accel-buffering", "no");  // proxies: pass on as it comes
    exchange_->begin_stream(std::move(head));
    exchange_->fill_silence(encoder_->filler());
    exchange_->write(encoder_->begin(prompt_tokens));
  }
  void on_event(const Event& event) override {
    answer_.add(event);
    std::string text = encoder_->event(event);
    if (!text.empty()) exchange_->write(std::move(text));
  }
  void on_end(const Usage& usage) override {
    answer_.usage = usage;
    exchange_->write(encoder_->end(answer_));
    exchange_->finish_stream();
  }
  void on_error(const ApiError& error) override {
    exchange_->write(encoder_->error(error));
    exchange_->finish_stream();
  }

 private:
  const std::shared_ptr<http::Exchange> exchange_;
  const std::unique_ptr<AnswerEncoder> encoder_;
  std::vector<http::Header> headers_;
  Answer answer_;
};

}  // namespace

std::shared_ptr<AnswerSink> whole_answer_sink(std::shared_ptr<http::Exchange> exchange,
                                              std::unique_ptr<AnswerEncoder> encoder,
                                              std::vector<http::Header> headers) {
  return std::make_shared<WholeAnswerSink>(std::move(exchange), std::move(encoder),
                                           std::move(headers));
}

std::shared_ptr<AnswerSink> stream_answer_sink(std::shared_ptr<http::Exchange> exchange,
                                               std::unique_ptr<AnswerEncoder> encoder,
                                               std::vector<http::Header> headers) {
  return std::make_shared<StreamAnswerSink>(std::move(exchange), std::move(encoder),
                                            std::move(headers));
}

http::Response error_response(const ApiError& error, const Json& body,
                              std::vector<http::Header> headers) {
  http::Response response;
  response.status = error.status();
  response.body = dump(body);
  response.headers = std::move(headers);
  if (error.retry_after_s() > 0) {
    response.headers.emplace_back("retry-after", std::to_string(error.retry_after_s()));
  }
  if (error.status() == 401) response.headers.emplace_back("www-authenticate", "Bearer");
  return response;
}

}  // namespace flashmoe::server
