#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/options.md is what `sglang serve --help-markdown` prints. usage: lint_options.py SGLANG_BINARY [--write]"""
import difflib
import subprocess
import sys

from lint_common import ROOT, finish

document = ROOT / "docs" / "options.md"
generated = subprocess.run([sys.argv[1], "serve", "--help-markdown"], capture_output=True, text=True, check=True).stdout
if "--write" in sys.argv[2:]:
    document.parent.mkdir(exist_ok=True)
    document.write_text(generated)
present = document.read_text() if document.exists() else ""
problems = list(difflib.unified_diff(present.splitlines(), generated.splitlines(), "docs/options.md", "sglang serve --help-markdown", lineterm="", n=0))
if problems:
    problems.append("write it again: tools/lint_options.py build/release/sglang --write")
finish(problems, "docs/options.md is in step")
