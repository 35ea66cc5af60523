// Where the `$ref`s of one schema document lead.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/json.h"
#include "base/result.h"

namespace sgl {

// Thread: one compile job. The document must outlive it.
class SchemaRefs {
 public:
  explicit SchemaRefs(const Json& root) : root_(root) {}
  // A $ref stands alone, as before draft 2019-09: an $id beside it means nothing. Before the first Resolve.
  void StandAlone() { lonely_ = true; }

  struct Target {
    const Json* schema = nullptr;
    std::string where;  // "#/definitions/a"
  };
  // `from`: the schema object that holds the reference. Errors: not in this document, or outside it.
  Result<Target> Resolve(const Json& from, const std::string& ref);

 private:
  void Index();
  void Walk(const Json& value, const std::string& base, bool schema, bool known, int depth);
  const Json* Pointer(const Json& from, std::string_view pointer) const;

  const Json& root_;
  bool indexed_ = false, lonely_ = false;
  std::unordered_map<std::string, const Json*> by_uri_;   // absolute, without an empty fragment
  std::unordered_map<const Json*, std::string> base_of_;  // schema objects whose base differs from the document's
  std::string root_base_;
};

}  // namespace sgl
