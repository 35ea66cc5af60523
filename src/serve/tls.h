// TLS between bytes and bytes: no sockets here. A connection feeds it what the network brings and sends what it gives back. A client begins
// by feeding nothing: its greeting comes out.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sgl {

struct TlsConfig {
  std::string certificate_file, key_file;  // PEM; the certificate may have its chain behind it
  std::string key_password;
  std::string ca_file;  // PEM; "": clients are not asked for certificates. Else those that come must be signed by one of these
  bool enabled() const { return !certificate_file.empty() || !key_file.empty(); }
};

// One connection. Thread: one at a time.
class TlsSession {
 public:
  enum class State {
    kOpen,
    kClosed,  // the other side has said goodbye: nothing more will come
    kFailed,  // what came is no TLS, or not for us
  };
  ~TlsSession();

  // After kFailed: what is wrong with the server's certificate; "": nothing is known to be.
  std::string trouble() const;
  // Takes bytes from the network, appends what they say to `plain` and what must be sent because of them to `out`.
  State Feed(std::string_view bytes, std::string& plain, std::string& out);
  // Precondition: established().
  void Encrypt(std::string_view plain, std::string& out);
  void SayGoodbye(std::string& out);
  bool established() const;

 private:
  friend class TlsContext;
  struct Impl;
  explicit TlsSession(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Certificate and key of a server, or whom a client trusts; shared by all connections. TLS 1.2 and newer.
class TlsContext {
 public:
  // Errors name the file and what OpenSSL has against it.
  static Result<std::shared_ptr<const TlsContext>> Load(const TlsConfig& config);
  // A client that trusts the certificates in ca_file; "": those that the system trusts. verify false: anybody.
  static Result<std::shared_ptr<const TlsContext>> ForClient(const std::string& ca_file, bool verify);
  ~TlsContext();
  std::unique_ptr<TlsSession> NewSession() const;
  // Of a client; the server has to be `host`, a name or an address.
  std::unique_ptr<TlsSession> NewSession(const std::string& host) const;

 private:
  struct Impl;
  explicit TlsContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sgl
