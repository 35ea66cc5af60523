#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every source file names its licence near the top; every header has #pragma once."""
from lint_common import files, finish, text

TOP = 15  # lines in which the licence line must appear
problems = []
checked = files(".cc", ".h", ".py", ".sh") + [p for p in files() if str(p) in ("run", "test", ".ci/run")]
for path in checked:
    lines = text(path).splitlines()
    if not any("SPDX-License-Identifier: Apache-2.0" in line for line in lines[:TOP]):
        problems.append(f"{path}: no 'SPDX-License-Identifier: Apache-2.0' in the first {TOP} lines")
    if path.suffix == ".h" and "#pragma once" not in lines:
        problems.append(f"{path}: no '#pragma once'")
finish(problems, f"{len(checked)} files with licence lines, headers guarded")
