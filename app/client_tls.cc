// SPDX-License-Identifier: Apache-2.0
#include "app/client_tls.h"

namespace sgl {

void ClientTlsOptions::Visit(Options& field) {
  field("cacert", ca_file, "https: PEM file with the certificates to trust; unset: those that the system trusts",
        OptionTrait::kZeroIsUnset);
  field("insecure", insecure, "https: trust every certificate");
}

Result<HttpClientConfig> ClientTlsOptions::For(const HttpUrl& url, HttpClientConfig config) const {
  if (!url.tls) return config;
  TRY(config.tls, TlsContext::ForClient(ca_file, !insecure));
  return config;
}

}  // namespace sgl
