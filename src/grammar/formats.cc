// The values of `format` that are asserted, as regular expressions.
// Sources: RFC 3339 (dates and times, durations), RFC 5321 (mail), RFC 1123 (host names), RFC 4291 (IPv6), RFC 3986 (URIs), RFC 6570, RFC
// 6901. SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <string>
#include <unordered_map>

#include "grammar/json_schema.h"

namespace sgl {
namespace {

using Text = std::string;

// The second that ends a day in UTC, at every offset of whole quarters of an hour.
Text LeapSeconds() {
  Text out = R"((23:59:60(\.\d+)?[Zz])";
  for (int quarters = -95; quarters <= 95; ++quarters) {
    const int local = (24 * 60 - 1 + quarters * 15 + 24 * 60) % (24 * 60), size = quarters < 0 ? -quarters : quarters;
    for (const char* sign : {"[+]", "-"})
      if (quarters == 0 || (quarters > 0) == (sign[0] == '['))
        out += fmt::format(R"(|{:02}:{:02}:60(\.\d+)?{}{:02}:{:02})", local / 60, local % 60, sign, size / 4, size % 4 * 15);
  }
  return out + ")";
}

// Groups, classes, escapes and repetitions of ECMA-262, groups nested up to `depth`.
Text RegexSyntax(int depth) {
  const Text escape = R"(\\([^acux\s]|c[A-Za-z]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|u\{[0-9A-Fa-f]+\}))";
  const Text repeat = R"(([*+?]|\{\d+(,\d*)?\})?\??)";
  const Text simple = R"([^*+?()\[\\|]|)" + escape + R"(|\[([^\]\\]|)" + escape + R"()*\])";
  Text inner = "((" + simple + ")" + repeat + R"(|\|)*)";
  for (; depth > 0; --depth)
    inner = "((" + simple + R"(|\((\?(:|<?[=!]|<[A-Za-z_$][A-Za-z0-9_$]*>))?)" + inner + R"(\)))" + repeat + R"(|\|)*)";
  return inner;
}

std::unordered_map<std::string_view, Text> Build() {
  const Text date = R"((\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8])))"
                    R"(|(\d\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29))";
  const Text offset = R"(([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d))";
  const Text time = R"((([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?)" + offset + "|" + LeapSeconds() + ")";
  const Text octet = R"((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d))";
  const Text ipv4 = octet + R"((\.)" + octet + "){3}";
  const Text h = "[0-9A-Fa-f]{1,4}";
  const Text tail = "(" + h + ":" + h + "|" + ipv4 + ")";  // the last 32 bits
  Text ipv6 = "((" + h + ":){6}" + tail;
  ipv6 += "|::(" + h + ":){5}" + tail + "|(" + h + ")?::(" + h + ":){4}" + tail;
  ipv6 += "|((" + h + ":){0,1}" + h + ")?::(" + h + ":){3}" + tail + "|((" + h + ":){0,2}" + h + ")?::(" + h + ":){2}" + tail;
  ipv6 += "|((" + h + ":){0,3}" + h + ")?::" + h + ":" + tail + "|((" + h + ":){0,4}" + h + ")?::" + tail;
  ipv6 += "|((" + h + ":){0,5}" + h + ")?::" + h + "|((" + h + ":){0,6}" + h + ")?::)";
  const Text label = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
  const Text host = label + R"((\.)" + label + ")*";
  const Text atom = R"([A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)";
  const Text email = "(" + atom + R"((\.)" + atom + R"()*|"([^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*")@()" + host + R"(|\[)" + ipv4 +
                     R"(\]|\[IPv6:)" + ipv6 + R"(\]))";
  const Text pct = "%[0-9A-Fa-f]{2}";
  const Text unreserved = "A-Za-z0-9._~\\-", sub = "!$&'()*+,;=";
  const Text pchar = "([" + unreserved + sub + ":@]|" + pct + ")";
  const Text authority = "(([" + unreserved + sub + ":]|" + pct + R"()*@)?(\[()" + ipv6 + "|[vV][0-9A-Fa-f]+\\.[" + unreserved + sub +
                         R"(:]+)\]|([)" + unreserved + sub + "]|" + pct + ")*)(:[0-9]*)?";
  const Text rest = R"((\?()" + pchar + R"(|[/?])*)?(#()" + pchar + "|[/?])*)?";
  const Text hier = "(//" + authority + "(/" + pchar + "*)*|/(" + pchar + "+(/" + pchar + "*)*)?|" + pchar + "+(/" + pchar + "*)*|)";
  const Text uri = "[A-Za-z][A-Za-z0-9+.-]*:" + hier + rest;
  const Text no_colon = "([" + unreserved + sub + "@]|" + pct + ")";
  const Text relative =
      "(//" + authority + "(/" + pchar + "*)*|/(" + pchar + "+(/" + pchar + "*)*)?|" + no_colon + "+(/" + pchar + "*)*|)" + rest;
  // IRIs: the same with the characters of RFC 3987 besides the unreserved ones.
  const auto wider = [&](Text text) {
    const Text more = R"(\u00a0-\ud7ff\uf900-\ufdcf\ufdf0-\uffef\u{10000}-\u{efffd})";
    for (size_t at = 0; (at = text.find(unreserved, at)) != Text::npos; at += unreserved.size() + more.size())
      text.insert(at + unreserved.size(), more);
    const Text query = R"([/?])*)?(#()";
    for (size_t at = 0; (at = text.find(query, at)) != Text::npos; at += query.size())
      text.insert(at + 3, R"(\ue000-\uf8ff\u{f0000}-\u{ffffd}\u{100000}-\u{10fffd})");
    return text;
  };
  const Text var = R"(([A-Za-z0-9_]|%[0-9A-Fa-f]{2})(\.?([A-Za-z0-9_]|%[0-9A-Fa-f]{2}))*(:[1-9]\d{0,3}|\*)?)";
  const Text tmpl = R"(([^\x00-\x20"'%<>\\^`{|}\x7f]|')"
                    "|" +
                    pct + R"(|\{[+#./;?&=,!@|]?)" + var + "(," + var + R"()*\})*)";
  const Text pointer = "(/([^/~]|~[01])*)*";
  std::unordered_map<std::string_view, Text> table;
  table["date"] = date;
  table["time"] = time;
  table["date-time"] = date + "[Tt]" + time;
  table["duration"] =
      R"(P(\d+W|\d+Y(\d+M(\d+D)?)?(T(\d+H(\d+M(\d+S)?)?|\d+M(\d+S)?|\d+S))?|\d+M(\d+D)?(T(\d+H(\d+M(\d+S)?)?|\d+M(\d+S)?|\d+S))?)"
      R"(|\d+D(T(\d+H(\d+M(\d+S)?)?|\d+M(\d+S)?|\d+S))?|T(\d+H(\d+M(\d+S)?)?|\d+M(\d+S)?|\d+S)))";
  table["email"] = email;
  table["idn-email"] = R"([^@\s]+@[^@\s]+)";
  table["hostname"] = host;
  // Necessary, not sufficient: what IDNA says of single characters and of directions is not looked at.
  const Text letter = R"([^\x00-\x2c./\x3a-\x40\[-`{-\x7f\u3002\uff0e\uff61])",
             no_hyphen = R"([^\x00-/\x3a-\x40\[-`{-\x7f\u3002\uff0e\uff61])";
  const Text idn_label = no_hyphen + "(" + letter + "{0,61}" + no_hyphen + ")?";
  table["idn-hostname"] = idn_label + R"(([.\u3002\uff0e\uff61])" + idn_label + ")*";
  table["ipv4"] = ipv4;
  table["ipv6"] = ipv6;
  table["uuid"] = "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}";
  table["uri"] = uri;
  table["uri-reference"] = "(" + uri + "|" + relative + ")";
  table["iri"] = wider(uri);
  table["iri-reference"] = wider("(" + uri + "|" + relative + ")");
  table["uri-template"] = tmpl;
  table["json-pointer"] = pointer;
  // Groups nested more deeply are refused; repetitions that count down are not.
  table["regex"] = RegexSyntax(8);
  table["relative-json-pointer"] = R"((0|[1-9]\d*)(#|)" + pointer + ")";
  return table;
}

}  // namespace

const char* FormatRegex(std::string_view format) {
  static const auto table = Build();
  const auto it = table.find(format);
  return it == table.end() ? nullptr : it->second.c_str();
}

}  // namespace sgl
