#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every pattern of CODEOWNERS matches a file, and every line names an owner."""
import fnmatch
import pathlib

from lint_common import files, finish, text

names = ["/" + str(p) for p in files()]


def matches(pattern: str) -> bool:
    if pattern == "*":
        return bool(names)
    anchored = pattern if pattern.startswith("/") else "/**/" + pattern
    if anchored.endswith("/"):
        anchored += "**"
    glob = anchored.replace("/**/", "/*").replace("**", "*")
    return any(fnmatch.fnmatchcase(name, glob) or fnmatch.fnmatchcase(name, glob + "/*") for name in names)


problems = []
rules = 0
for number, line in enumerate(text(pathlib.Path("CODEOWNERS")).splitlines(), 1):
    line = line.split("#")[0].strip()
    if not line:
        continue
    rules += 1
    pattern, *owners = line.split()
    if not owners or not all(o.startswith("@") or "@" in o for o in owners):
        problems.append(f"CODEOWNERS:{number}: {pattern} has no owner")
    if not matches(pattern):
        problems.append(f"CODEOWNERS:{number}: {pattern} matches no file")
finish(problems, f"{rules} patterns, all match")
