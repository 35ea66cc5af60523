// HTTPS: certificates made on the spot, OpenSSL's own client on the other side.
// SPDX-License-Identifier: Apache-2.0
#include "serve/tls.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <future>

#include "serve/http_client.h"
#include "serve/http_test_kit.h"

namespace sgl {
namespace {

using http_test::ExchangePtr;
using http_test::RawClient;
using http_test::TestServer;

// A self-signed certificate and its key, in files.
struct Files {
  std::filesystem::path folder = std::filesystem::temp_directory_path() / ("tls_test_" + std::to_string(getpid()));
  TlsConfig config;
  explicit Files(const char* password = nullptr) {
    std::filesystem::create_directories(folder);
    config.certificate_file = folder / "cert.pem";
    config.key_file = folder / "key.pem";
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME* name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509_sign(certificate, key, EVP_sha256());
    FILE* file = fopen(config.certificate_file.c_str(), "w");
    PEM_write_X509(file, certificate);
    fclose(file);
    file = fopen(config.key_file.c_str(), "w");
    PEM_write_PrivateKey(file, key, password != nullptr ? EVP_aes_128_cbc() : nullptr, nullptr, 0, nullptr, const_cast<char*>(password));
    fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  ~Files() { std::filesystem::remove_all(folder); }
};

// A blocking client that trusts `certificate` only.
class TlsClient {
 public:
  TlsClient(uint16_t port, const std::string& certificate) : raw_(port), context_(SSL_CTX_new(TLS_client_method())) {
    std::signal(SIGPIPE, SIG_IGN);
    SSL_CTX_load_verify_locations(context_, certificate.c_str(), nullptr);
    SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
    ssl_ = SSL_new(context_);
    SSL_set_fd(ssl_, raw_.fd());
    connected_ = SSL_connect(ssl_) == 1;
  }
  ~TlsClient() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  bool connected() const { return connected_; }
  void Send(std::string_view text) {
    while (!text.empty()) {
      const int n = SSL_write(ssl_, text.data(), static_cast<int>(text.size()));
      ASSERT_GT(n, 0);
      text.remove_prefix(static_cast<size_t>(n));
    }
  }
  // Everything until the server has said goodbye, which it must.
  std::string ReadAll() {
    std::string out;
    char buffer[65536];
    int n = 0;
    while ((n = SSL_read(ssl_, buffer, sizeof buffer)) > 0) out.append(buffer, static_cast<size_t>(n));
    EXPECT_EQ(SSL_get_error(ssl_, n), SSL_ERROR_ZERO_RETURN);
    return out;
  }

 private:
  RawClient raw_;
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
  bool connected_ = false;
};

HttpServerConfig Secure(const Files& files) {
  HttpServerConfig config;
  config.tls = files.config;
  return config;
}

// /echo: the body; else a hundred pieces.
void EchoOrStream(const ExchangePtr& exchange) {
  if (exchange->request().path == "/echo") return exchange->Send(200, "text/plain", exchange->request().body);
  exchange->StartStream("text/plain");
  for (int i = 0; i < 100; ++i) exchange->Write("piece " + std::to_string(i) + "\n");
  exchange->EndStream();
}

TEST(Tls, OurOwnClient) {
  const Files files;
  const std::string big(3 << 20, 'x');
  TestServer server(EchoOrStream, Secure(files));
  const auto client_of = [&](const std::string& host, const std::string& ca_file, bool verify) {
    return std::make_unique<HttpClient>(host, server.port(), HttpClientConfig{.tls = *TlsContext::ForClient(ca_file, verify)});
  };
  const auto trusting = client_of("localhost", files.config.certificate_file, true);
  for (int i = 0; i < 2; ++i) {
    const Result<HttpReplyData> echo = trusting->Request("POST", "/echo", {}, big);
    ASSERT_TRUE(echo.ok()) << echo.error().message;
    EXPECT_EQ(echo->body, big);
    std::string pieces;
    const Result<HttpReplyData> stream = trusting->Request("GET", "/stream", {}, "", [&](std::string_view piece) {
      pieces += piece;
      return true;
    });
    ASSERT_TRUE(stream.ok()) << stream.error().message;
    EXPECT_EQ(pieces.substr(pieces.size() - 9), "piece 99\n");
  }
  const auto refused = client_of("localhost", "", true)->Request("GET", "/stream");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("not trusted: self"), std::string::npos) << refused.error().message;
  const auto other_name = client_of("127.0.0.1", files.config.certificate_file, true)->Request("GET", "/stream");
  ASSERT_FALSE(other_name.ok());
  EXPECT_NE(other_name.error().message.find("mismatch"), std::string::npos) << other_name.error().message;
  EXPECT_TRUE(client_of("127.0.0.1", "", false)->Request("POST", "/echo", {}, "x").ok());
  EXPECT_NE(TlsContext::ForClient("/nowhere", true).error().message.find("/nowhere"), std::string::npos);
}

TEST(Tls, OurOwnClientMeetsNoTls) {
  const Files files;
  TestServer server([&](const ExchangePtr& exchange) { exchange->Send(200, "text/plain", "x"); }, HttpServerConfig{});
  HttpClient client("localhost", server.port(), HttpClientConfig{.tls = *TlsContext::ForClient(files.config.certificate_file, true)});
  const auto reply = client.Request("GET", "/");
  ASSERT_FALSE(reply.ok());
  EXPECT_NE(reply.error().message.find("TLS"), std::string::npos) << reply.error().message;
}

TEST(Tls, RequestsRepliesAndStreams) {
  const Files files;
  const std::string big(3 << 20, 'x');
  TestServer server(EchoOrStream, Secure(files));
  {
    TlsClient client(server.port(), files.config.certificate_file);
    ASSERT_TRUE(client.connected());
    client.Send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");  // kept alive, then a large body both ways
    client.Send("POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " + std::to_string(big.size()) + "\r\n\r\n" + big);
    const std::string all = client.ReadAll();
    EXPECT_NE(all.find("piece 99\n"), std::string::npos);
    ASSERT_GT(all.size(), big.size());
    EXPECT_EQ(all.compare(all.size() - big.size(), big.size(), big), 0);
  }
}

TEST(Tls, WhoSpeaksNoTlsGetsNothing) {
  const Files files;
  TestServer server([](const ExchangePtr& exchange) { exchange->Send(200, "text/plain", "secret"); }, Secure(files));
  RawClient plain(server.port());
  plain.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(plain.ReadToEnd().find("secret"), std::string::npos);
  RawClient silent(server.port());  // and who leaves in the middle of the greeting harms nobody
  silent.Send("\x16\x03\x01");
  silent.Close();
  TlsClient client(server.port(), files.config.certificate_file);
  ASSERT_TRUE(client.connected());
  client.Send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_NE(client.ReadAll().find("secret"), std::string::npos);
}

TEST(Tls, AClientThatLeavesIsNoticed) {
  const Files files;
  std::promise<void> gone;
  std::shared_ptr<HttpExchange> kept;
  TestServer server(
      [&](const ExchangePtr& exchange) {
        exchange->OnClose([&] { gone.set_value(); });
        kept = exchange;
      },
      Secure(files));
  {
    TlsClient client(server.port(), files.config.certificate_file);
    client.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  gone.get_future().wait();
  kept.reset();
}

TEST(Tls, StartErrorsNameTheFile) {
  const Files files;
  const auto error = [](TlsConfig config) {
    const auto loaded = TlsContext::Load(config);
    return loaded.ok() ? std::string() : loaded.error().message;
  };
  EXPECT_EQ(error(files.config), "");
  TlsConfig broken = files.config;
  broken.certificate_file = "/no/such/file";
  EXPECT_EQ(error(broken).find("--ssl-certfile /no/such/file: "), 0U);
  broken = files.config;
  broken.key_file = files.config.certificate_file;
  EXPECT_EQ(error(broken).find("--ssl-keyfile "), 0U);
  broken = files.config;
  broken.key_file.clear();
  EXPECT_EQ(error(broken), "TLS needs both --ssl-certfile and --ssl-keyfile");
  broken = files.config;
  broken.ca_file = "/no/such/file";
  EXPECT_EQ(error(broken).find("--ssl-ca-certs /no/such/file: "), 0U);
}

TEST(Tls, KeysMayHaveAPassword) {
  Files files("swordfish");
  EXPECT_FALSE(TlsContext::Load(files.config).ok());
  files.config.key_password = "swordfish";
  EXPECT_TRUE(TlsContext::Load(files.config).ok());
}

}  // namespace
}  // namespace sgl
