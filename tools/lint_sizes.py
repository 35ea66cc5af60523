#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A source file stops at 800 lines, a room's README at 40."""
from lint_common import files, finish, text

LIMIT, README_LIMIT = 800, 40
# path -> why it may be longer. An entry that is not needed any more is an error, too.
EXCEPTIONS: dict[str, str] = {}

problems = []
checked = files(".cc", ".h", ".py", ".sh", ".cmake")
for path in checked:
    lines = text(path).count("\n")
    excused = str(path) in EXCEPTIONS
    if lines > LIMIT and not excused:
        problems.append(f"{path}: {lines} lines, the limit is {LIMIT}; split it, or give a reason in tools/lint_sizes.py")
    if lines <= LIMIT and excused:
        problems.append(f"tools/lint_sizes.py: {path} has {lines} lines and needs no exception")
for name in EXCEPTIONS:
    if name not in map(str, checked):
        problems.append(f"tools/lint_sizes.py: {name} does not exist")
for path in files("README.md"):
    lines = text(path).count("\n")
    if path.parts[0] == "src" and lines > README_LIMIT:
        problems.append(f"{path}: {lines} lines, a room's README has at most {README_LIMIT}")
finish(problems, f"{len(checked)} files, none above {LIMIT} lines")
