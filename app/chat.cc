// A conversation with a server, in the terminal or through a pipe.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "app/client_tls.h"
#include "app/commands.h"
#include "obs/log.h"
#include "serve/http_client.h"

namespace sgl {
namespace {

struct ChatOptions {
  std::string url = "http://127.0.0.1:30000";
  std::string model, system, api_key;
  std::optional<int64_t> max_tokens, seed;
  std::optional<double> temperature, top_p;
  std::vector<std::string> prompt;
  ClientTlsOptions tls;

  void Visit(Options& field) {
    field.Group("Options");
    field("url", url, "the server");
    field("model", model, "model name; unset: the server's first", OptionTrait::kZeroIsUnset);
    field("system", system, "system message", OptionTrait::kZeroIsUnset);
    field("api-key", api_key, "bearer token", OptionTrait::kSecret, OptionTrait::kZeroIsUnset);
    field("max-tokens", max_tokens, "longest answer", Range{1, 1 << 30});
    field("temperature", temperature, "0: always the likeliest token", Range{0, 100});
    field("top-p", top_p, "sample from the smallest set of tokens with this probability", Range{0, 1});
    field("seed", seed, "the same seed gives the same answer");
    tls.Visit(field);
    field.Positional("prompt", prompt, "ask this and stop; else a conversation, or one question read from a pipe");
  }
};

// Ctrl-C while an answer streams ends the answer; a second one, or one at the prompt, ends the program.
volatile std::sig_atomic_t interrupted = 0;

void OnInterrupt(int) {
  if (interrupted != 0) _exit(130);
  interrupted = 1;
}

void CatchInterrupts() {
  struct sigaction action {};
  action.sa_handler = OnInterrupt;  // without SA_RESTART: reading a line stops, too
  sigaction(SIGINT, &action, nullptr);
}

// What an error reply says, OpenAI's shape or any other.
std::string ErrorText(int status, const std::string& body) {
  const Result<Json> parsed = ParseJson(body);
  if (parsed.ok()) {
    const std::string message = (*parsed)["error"].get_string("message", parsed->get_string("message", ""));
    if (!message.empty()) return fmt::format("HTTP {}: {}", status, message);
  }
  return fmt::format("HTTP {}: {}", status, body.substr(0, 500));
}

class Conversation {
 public:
  Conversation(const ChatOptions& options, HttpUrl url, HttpClientConfig client)
      : options_(options), url_(std::move(url)), client_(url_.host, url_.port, std::move(client)) {
    Reset();
  }

  // Asks the server for its model unless one was given.
  Status Connect() {
    if (!options_.model.empty()) {
      model_ = options_.model;
      return {};
    }
    TRY(const HttpReplyData reply, client_.Request("GET", Path("/v1/models"), Headers()));
    if (reply.status != 200) return Internal(ErrorText(reply.status, reply.body));
    TRY(const Json models, ParseJson(reply.body));
    const Json& data = models["data"];
    if (!data.is_array() || data.as_array().empty()) return Internal("the server names no model");
    model_ = data.as_array().front().get_string("id", "");
    return {};
  }

  void Reset() {
    messages_ = Json(Json::Array{});
    if (!system_set_) system_ = options_.system;
    if (!system_.empty()) AddMessage("system", system_);
  }
  void SetSystem(std::string text) {
    system_ = std::move(text);
    system_set_ = true;
    Reset();
  }

  // Sends the user's turn and prints the answer as it comes. After an error the turn is forgotten; an interrupted answer is kept.
  Status Say(const std::string& text) {
    const Json before = messages_;
    AddMessage("user", text);
    interrupted = 0;
    std::string answer, failure;
    SseSplitter events;
    const auto on_body = [&](std::string_view piece) {
      events.Feed(
          piece, [&](std::string_view, std::string_view data) { TakeEvent(data, answer, failure); }, ShowProgress);
      return interrupted == 0 && failure.empty();
    };
    HttpHeaders headers = Headers();
    headers.emplace_back("content-type", "application/json");
    const Result<HttpReplyData> reply = client_.Request("POST", Path("/v1/chat/completions"), headers, DumpJson(Body()), on_body);
    if (reply.ok() && failure.empty() && (reply->status < 200 || reply->status > 299)) failure = ErrorText(reply->status, reply->body);
    if (!reply.ok() && interrupted == 0) failure = reply.error().message;
    if (interrupted != 0) client_.Close();  // the server notices and stops computing
    interrupted = 0;
    std::fputc('\n', stdout);
    std::fflush(stdout);
    if (!failure.empty()) {
      messages_ = before;
      return Internal(failure);
    }
    AddMessage("assistant", answer);
    return {};
  }

  const std::string& model() const { return model_; }

 private:
  void AddMessage(const char* role, const std::string& content) {
    Json message;
    message.Set("role", role).Set("content", content);
    messages_.Push(std::move(message));
  }

  std::string Path(const std::string& route) const {
    std::string base = url_.target;
    while (!base.empty() && base.back() == '/') base.pop_back();
    if (base.size() >= 3 && base.compare(base.size() - 3, 3, "/v1") == 0) base.resize(base.size() - 3);  // an OpenAI base_url
    return base + route;
  }

  HttpHeaders Headers() const {
    HttpHeaders headers;
    if (!options_.api_key.empty()) headers.emplace_back("authorization", "Bearer " + options_.api_key);
    return headers;
  }

  Json Body() const {
    Json body;
    body.Set("model", model_).Set("messages", messages_).Set("stream", true);
    if (options_.max_tokens) body.Set("max_tokens", *options_.max_tokens);
    if (options_.temperature) body.Set("temperature", *options_.temperature);
    if (options_.top_p) body.Set("top_p", *options_.top_p);
    if (options_.seed) body.Set("seed", *options_.seed);
    if (isatty(STDERR_FILENO) == 1) body.Set("stream_options", Json().Set("include_progress", true));
    return body;
  }

  // "progress {...}" while the server reads a long conversation: one line that the answer replaces.
  static void ShowProgress(std::string_view comment) {
    constexpr std::string_view kProgress = "progress ";
    if (comment.substr(0, kProgress.size()) != kProgress) return;
    const Result<Json> progress = ParseJson(comment.substr(kProgress.size()));
    if (!progress.ok() || progress->get_int("prompt_tokens", 0) == 0) return;
    fmt::print(stderr, "\r\033[Kreading: {} of {} tokens\r", progress->get_int("computed_tokens", 0),
               progress->get_int("prompt_tokens", 0));
    std::fflush(stderr);
  }

  static void TakeEvent(std::string_view data, std::string& answer, std::string& failure) {
    if (data == "[DONE]") return;
    const Result<Json> event = ParseJson(data);
    if (!event.ok()) {
      failure = "the server sent something that is not JSON: " + event.error().message;
      return;
    }
    if (const Json& error = (*event)["error"]; !error.is_null()) {
      failure = error.get_string("message", DumpJson(error));
      return;
    }
    const Json& choices = (*event)["choices"];
    if (!choices.is_array() || choices.as_array().empty()) return;
    const std::string piece = choices.as_array().front()["delta"].get_string("content", "");
    if (answer.empty() && !piece.empty() && isatty(STDERR_FILENO) == 1) fmt::print(stderr, "\033[K");
    answer += piece;
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    std::fflush(stdout);
  }

  const ChatOptions& options_;
  HttpUrl url_;
  HttpClient client_;
  std::string model_, system_;
  bool system_set_ = false;
  Json messages_;
};

// One line without its end; nothing at the end of input or when interrupted.
std::optional<std::string> ReadLine() {
  char* line = nullptr;
  size_t capacity = 0;
  const ssize_t length = getline(&line, &capacity, stdin);
  std::optional<std::string> text;
  if (length >= 0) text = std::string(line, static_cast<size_t>(length));
  std::free(line);
  while (text && !text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
  return text;
}

std::string ReadAll() {
  std::string text;
  while (auto line = ReadLine()) text += (text.empty() ? "" : "\n") + *line;
  return text;
}

constexpr const char* kHelp = "/reset forgets the conversation, /system TEXT sets the system message, /quit ends; Ctrl-C stops an answer\n";

void Interactive(Conversation& conversation, const std::string& url) {
  fmt::print("{} at {}\n{}", conversation.model(), url, kHelp);
  while (true) {
    fmt::print("\n> ");
    std::fflush(stdout);
    interrupted = 0;
    const auto line = ReadLine();
    if (!line || *line == "/quit" || *line == "/exit") break;
    if (line->empty()) continue;
    if (*line == "/reset") {
      conversation.Reset();
    } else if (*line == "/system" || line->rfind("/system ", 0) == 0) {
      conversation.SetSystem(line->size() > 8 ? line->substr(8) : "");
    } else if (line->front() == '/') {
      fmt::print("{}", kHelp);
    } else if (const Status status = conversation.Say(*line); !status.ok()) {
      fmt::print(stderr, "error: {}\n", status.error().message);
    }
  }
  fmt::print("\n");
}

}  // namespace

int RunChat(const Arguments& arguments) {
  ChatOptions config;
  Options options("sglang chat", "Talks to a running server. In a conversation: /reset, /system TEXT, /quit.");
  config.Visit(options);
  std::vector<std::string> warnings;
  if (const auto done = ParseCommandLine("chat", options, arguments, warnings)) return *done;
  LogWarnings(warnings);
  Result<HttpUrl> url = ParseHttpUrl(config.url, true);
  if (!url.ok()) return Fail("chat", "argument --url: " + url.error().message, 2);

  Result<HttpClientConfig> client = config.tls.For(*url);
  if (!client.ok()) return Fail("chat", "argument --cacert: " + client.error().message, 2);

  CatchInterrupts();
  Conversation conversation(config, *url, *std::move(client));
  if (const Status status = conversation.Connect(); !status.ok())
    return Fail("chat", status.error().message + " (is a server running? start one with: sglang serve --model-path X)");
  if (config.prompt.empty() && isatty(STDIN_FILENO) == 1) {
    Interactive(conversation, config.url);
    return 0;
  }
  const std::string question = config.prompt.empty() ? ReadAll() : fmt::format("{}", fmt::join(config.prompt, " "));
  if (question.empty()) return Fail("chat", "there is no question", 2);
  if (const Status status = conversation.Say(question); !status.ok()) return Fail("chat", status.error().message);
  return 0;
}

}  // namespace sgl
