#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The `sglang` binary, stripped, has at most 15 MB: it is one file that people copy to machines."""
import pathlib
import subprocess
import sys
import tempfile

LIMIT = 15_000_000

with tempfile.TemporaryDirectory() as folder:
    stripped = pathlib.Path(folder) / "sglang"
    subprocess.run(["strip", "-o", stripped, sys.argv[1]], check=True)
    size = stripped.stat().st_size
print(f"{size / 1e6:.1f} MB stripped")
sys.exit(size > LIMIT)
