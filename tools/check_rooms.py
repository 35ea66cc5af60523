#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a file includes a room that its own room does not list in USES."""
import pathlib
import re
import sys

src = pathlib.Path(sys.argv[1])
uses = {}
for cml in src.glob("*/CMakeLists.txt"):
    text = re.sub(r"\s+", " ", cml.read_text())
    m = re.search(r"room\((\w+) FLOOR \d+(?: USES ([\w ]+?))?(?: LINKS [^)]*)?\)", text.replace(" )", ")"))
    uses[m[1]] = {m[1], *(m[2] or "").split()}
bad = []
for f in sorted(src.rglob("*")):
    if f.suffix not in (".h", ".cc"):
        continue
    room = f.relative_to(src).parts[0]
    for n, line in enumerate(f.read_text().splitlines(), 1):
        m = re.match(r'\s*#\s*include "(\w+)/', line)
        if m and m[1] not in uses[room]:
            bad.append(f"{f.relative_to(src)}:{n}: {line.strip()}")
print("\n".join(bad) or f"{len(uses)} rooms, no forbidden include")
sys.exit(bool(bad))
