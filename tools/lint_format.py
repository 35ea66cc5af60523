#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""C++ is laid out as .clang-format says (clang-format 14: other versions differ)."""
import shutil
import subprocess

from lint_common import ROOT, files, finish

checked = files(".cc", ".h")
program = shutil.which("clang-format-14")
if program is None:
    finish([], "clang-format-14 is not installed: nothing checked")
run = subprocess.run([program, "--dry-run", "-Werror", "--ferror-limit=1", *map(str, checked)], cwd=ROOT, capture_output=True, text=True, check=False)
wrong = sorted({line.split(":")[0] for line in run.stderr.splitlines() if "clang-format-violations" in line})
if run.returncode != 0 and not wrong:
    wrong = [run.stderr.strip()]
finish([f"{name}: run clang-format-14 -i on it" for name in wrong], f"{len(checked)} files in format")
