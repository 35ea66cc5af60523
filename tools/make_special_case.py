#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/text/jinja/special_case.cc from Python's own Unicode tables: python tools/make_special_case.py"""
import pathlib
import subprocess

rows = []
for c in range(0x80, 0x110000):
    if 0xD800 <= c < 0xE000:
        continue
    s = chr(c)
    upper, lower, title, fold = s.upper(), s.lower(), s.title(), s.casefold()
    if max(map(len, (upper, lower, title))) == 1 and fold == lower:
        continue

    def text(v, plain):
        if plain:
            return "nullptr"
        return '"' + "".join(f"\\{b:03o}" for b in v.encode()) + '"'

    rows.append(
        f"    {{0x{c:04X}, {text(upper, len(upper) == 1)}, {text(lower, len(lower) == 1)}, "
        f"{text(title, len(title) == 1)}, {text(fold, fold == lower and len(lower) == 1)}}},")

out = pathlib.Path(__file__).resolve().parent.parent / "src/text/jinja/special_case.cc"
out.write_text("""// Written by tools/make_special_case.py; do not edit.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/special_case.h"

#include <algorithm>
#include <iterator>

namespace sgl::jinja {
namespace {

constexpr SpecialCase kTable[] = {
""" + "\n".join(rows) + """
};

}  // namespace

const SpecialCase* FindSpecialCase(uint32_t code) {
  const auto* found = std::lower_bound(std::begin(kTable), std::end(kTable), code, [](const SpecialCase& s, uint32_t c) { return s.code < c; });
  return found != std::end(kTable) && found->code == code ? found : nullptr;
}

}  // namespace sgl::jinja
""")
subprocess.run(["clang-format-14", "-i", str(out)], check=False)
