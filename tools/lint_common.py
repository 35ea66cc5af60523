# SPDX-License-Identifier: Apache-2.0
"""What the lints share: the repository's own files, and how to report."""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def files(*suffixes: str) -> list[pathlib.Path]:
    """Files of the repository (tracked or new, not ignored), relative to its root; all of them, or those that end in a suffix."""
    listed = subprocess.run(["git", "-C", str(ROOT), "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"],
                            capture_output=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        names = listed.stdout.decode().split("\0")
    else:  # an unpacked archive
        names = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.relative_to(ROOT).parts[0] not in (".git", "build")]
    found = {pathlib.Path(name) for name in names if name and (ROOT / name).is_file()}
    return sorted(p for p in found if not suffixes or p.name.endswith(suffixes))


def text(path: pathlib.Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


def finish(problems: list[str], good: str) -> None:
    """Ends the lint: the problems one per line, or one line of what was looked at."""
    print("\n".join(problems) if problems else good)
    sys.exit(1 if problems else 0)
