// Any bytes as the values of a template that uses them in many ways, also as format strings.
// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string>

#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto parsed = sgl::ChatTemplate::Parse(
      "{% for f in [s|upper, s|lower, s|title, s.title(), s|trim, s[::-1], s[1:-1], s.split(), s.rsplit(none, 2), s.splitlines(), "
      "s|wordwrap(5),"
      " s|tojson, s|tojson(true), [s], s|e, s|indent, s|truncate(5), s.swapcase(), s.casefold(), s|int, s|float, s|length, s|urlencode,"
      " s.strip(s), s.replace('a', s), s.partition(' '), s|wordcount, s.istitle(), s.center(9, 'é'), s|int(0, 0), s.expandtabs(), "
      "s.zfill(7)] %}"
      "{{ f }}{% endfor %}");
  static const auto percent = sgl::ChatTemplate::Parse("{{ s % (1, 'a', 2.5) }}"), named = sgl::ChatTemplate::Parse("{{ s % {'a': 1} }}"),
                    braces = sgl::ChatTemplate::Parse("{{ s.format(1, 'a', 2.5, x=[1]) }}"),
                    now = sgl::ChatTemplate::Parse("{{ strftime_now(s) }}");
  if (size > 4096) return 0;
  const sgl::Json variables(sgl::Json::Object{{"s", sgl::Json(std::string(reinterpret_cast<const char*>(data), size))}});
  for (const auto* t : {&parsed, &percent, &named, &braces, &now}) (void)(**t)->RenderAt(variables, 0).ok();
  return 0;
}
