// SPDX-License-Identifier: Apache-2.0
#include "serve/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cstring>
#include <utility>

#include "base/check.h"

namespace sgl {
namespace {

std::string OpenSslError() {
  const unsigned long code = ERR_peek_error();
  char text[256] = "unknown error";
  if (code != 0) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return text;
}

int GivePassword(char* buffer, int size, int, void* password) {
  const std::string& text = *static_cast<const std::string*>(password);
  if (text.size() > static_cast<size_t>(size)) return 0;
  std::memcpy(buffer, text.data(), text.size());
  return static_cast<int>(text.size());
}

}  // namespace

struct TlsContext::Impl {
  SSL_CTX* context;
  explicit Impl(const SSL_METHOD* method) : context(SSL_CTX_new(method)) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { SSL_CTX_free(context); }
};

struct TlsSession::Impl {
  SSL* ssl;
  explicit Impl(SSL_CTX* context) : ssl(SSL_new(context)) {
    CHECK(ssl != nullptr);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { SSL_free(ssl); }

  void TakeOutput(std::string& out) {
    char buffer[16 << 10];
    for (int n; (n = BIO_read(SSL_get_wbio(ssl), buffer, sizeof buffer)) > 0;) out.append(buffer, static_cast<size_t>(n));
  }
};

TlsSession::TlsSession(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsSession::~TlsSession() = default;

std::string TlsSession::trouble() const {
  const long verified = SSL_get_verify_result(impl_->ssl);
  return verified == X509_V_OK ? "" : X509_verify_cert_error_string(verified);
}

bool TlsSession::established() const { return SSL_is_init_finished(impl_->ssl) == 1; }

TlsSession::State TlsSession::Feed(std::string_view bytes, std::string& plain, std::string& out) {
  SSL* ssl = impl_->ssl;
  ERR_clear_error();
  if (!bytes.empty()) CHECK(BIO_write(SSL_get_rbio(ssl), bytes.data(), static_cast<int>(bytes.size())) == static_cast<int>(bytes.size()));
  char buffer[16 << 10];
  int n = 0;
  while ((n = SSL_read(ssl, buffer, sizeof buffer)) > 0) plain.append(buffer, static_cast<size_t>(n));
  const int error = SSL_get_error(ssl, n);
  impl_->TakeOutput(out);
  ERR_clear_error();
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return State::kOpen;
  return error == SSL_ERROR_ZERO_RETURN ? State::kClosed : State::kFailed;
}

void TlsSession::Encrypt(std::string_view plain, std::string& out) {
  ERR_clear_error();
  while (!plain.empty()) {
    const int n = SSL_write(impl_->ssl, plain.data(), static_cast<int>(std::min<size_t>(plain.size(), size_t{1} << 20)));
    if (n <= 0) break;  // the session has failed: what comes next is its end
    plain.remove_prefix(static_cast<size_t>(n));
  }
  impl_->TakeOutput(out);
}

void TlsSession::SayGoodbye(std::string& out) {
  ERR_clear_error();
  if (established()) SSL_shutdown(impl_->ssl);
  impl_->TakeOutput(out);
}

TlsContext::TlsContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsContext::~TlsContext() = default;

std::unique_ptr<TlsSession> TlsContext::NewSession() const {
  auto impl = std::make_unique<TlsSession::Impl>(impl_->context);
  SSL_set_accept_state(impl->ssl);
  return std::unique_ptr<TlsSession>(new TlsSession(std::move(impl)));
}

std::unique_ptr<TlsSession> TlsContext::NewSession(const std::string& host) const {
  auto impl = std::make_unique<TlsSession::Impl>(impl_->context);
  SSL_set_connect_state(impl->ssl);
  X509_VERIFY_PARAM* const who = SSL_get0_param(impl->ssl);
  if (X509_VERIFY_PARAM_set1_ip_asc(who, host.c_str()) != 1) {  // no address: a name
    CHECK(SSL_set_tlsext_host_name(impl->ssl, host.c_str()) == 1);
    CHECK(SSL_set1_host(impl->ssl, host.c_str()) == 1);
  }
  ERR_clear_error();
  return std::unique_ptr<TlsSession>(new TlsSession(std::move(impl)));
}

Result<std::shared_ptr<const TlsContext>> TlsContext::ForClient(const std::string& ca_file, bool verify) {
  ERR_clear_error();
  auto impl = std::make_unique<Impl>(TLS_client_method());
  SSL_CTX* context = impl->context;
  if (context == nullptr) return Internal("OpenSSL: " + OpenSslError());
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  if (!verify) return std::shared_ptr<const TlsContext>(new TlsContext(std::move(impl)));
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  const int loaded =
      ca_file.empty() ? SSL_CTX_set_default_verify_paths(context) : SSL_CTX_load_verify_locations(context, ca_file.c_str(), nullptr);
  if (loaded != 1) return InvalidArgument((ca_file.empty() ? "the system's certificates" : ca_file) + ": " + OpenSslError());
  return std::shared_ptr<const TlsContext>(new TlsContext(std::move(impl)));
}

Result<std::shared_ptr<const TlsContext>> TlsContext::Load(const TlsConfig& config) {
  ERR_clear_error();
  if (config.certificate_file.empty() || config.key_file.empty()) return InvalidArgument("TLS needs both --ssl-certfile and --ssl-keyfile");
  auto impl = std::make_unique<Impl>(TLS_server_method());
  SSL_CTX* context = impl->context;
  if (context == nullptr) return Internal("OpenSSL: " + OpenSslError());
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  std::string password = config.key_password;
  SSL_CTX_set_default_passwd_cb(context, GivePassword);
  SSL_CTX_set_default_passwd_cb_userdata(context, &password);
  if (SSL_CTX_use_certificate_chain_file(context, config.certificate_file.c_str()) != 1)
    return InvalidArgument("--ssl-certfile " + config.certificate_file + ": " + OpenSslError());
  if (SSL_CTX_use_PrivateKey_file(context, config.key_file.c_str(), SSL_FILETYPE_PEM) != 1)
    return InvalidArgument("--ssl-keyfile " + config.key_file + ": " + OpenSslError());
  if (SSL_CTX_check_private_key(context) != 1)
    return InvalidArgument("--ssl-keyfile " + config.key_file + " does not belong to " + config.certificate_file);
  if (!config.ca_file.empty()) {
    if (SSL_CTX_load_verify_locations(context, config.ca_file.c_str(), nullptr) != 1)
      return InvalidArgument("--ssl-ca-certs " + config.ca_file + ": " + OpenSslError());
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  }
  SSL_CTX_set_default_passwd_cb_userdata(context, nullptr);
  return std::shared_ptr<const TlsContext>(new TlsContext(std::move(impl)));
}

}  // namespace sgl
