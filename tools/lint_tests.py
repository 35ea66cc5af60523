#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A test runs, or it is deleted: no disabled, skipped or commented-out tests."""
import re

from lint_common import files, finish, text

FORBIDDEN = [
    (re.compile(r"\bDISABLED_\w"), "a disabled test"),
    (re.compile(r"\bGTEST_SKIP\b"), "a skipped test"),
    (re.compile(r"^\s*//\s*(TEST|TEST_F|TEST_P|TYPED_TEST)\("), "a commented-out test"),
    (re.compile(r"^\s*#\s*if\s+0\b"), "code under #if 0"),
    (re.compile(r"@(pytest\.mark\.(skip|xfail)|unittest\.skip)|\bpytest\.skip\("), "a skipped test"),
    (re.compile(r"^\s*#\s*def test_"), "a commented-out test"),
]
problems = []
checked = [p for p in files(".cc", ".h", ".py") if p.name != "lint_tests.py"]
for path in checked:
    for number, line in enumerate(text(path).splitlines(), 1):
        problems += [f"{path}:{number}: {what}: {line.strip()}" for pattern, what in FORBIDDEN if pattern.search(line)]
finish(problems, f"{len(checked)} files, every test runs")
