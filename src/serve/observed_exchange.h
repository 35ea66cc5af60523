// An exchange that is watched: HTTP metrics, the access log, the echo of x-request-id.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <string>

#include "serve/context.h"

namespace sgl {

// endpoint: the route's path, or one word for all unknown ones; never text that a client can choose.
Exchange Observe(const ApiContext& context, Exchange exchange, std::string endpoint);

}  // namespace sgl
