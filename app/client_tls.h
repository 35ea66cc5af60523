// How the commands that talk to a server do so over https.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "base/options.h"
#include "base/result.h"
#include "serve/http_client.h"

namespace sgl {

struct ClientTlsOptions {
  std::string ca_file;
  bool insecure = false;

  void Visit(Options& field);
  // `config` made fit for `url`. Errors name the file.
  Result<HttpClientConfig> For(const HttpUrl& url, HttpClientConfig config = {}) const;
};

}  // namespace sgl
