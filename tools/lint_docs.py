#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What Markdown files say in backticks exists: files, presets, commands of `sglang`; and the targets of their links."""
import json
import pathlib
import re

from lint_common import ROOT, files, finish, text

SOURCE_SUFFIXES = (".cc", ".h", ".py", ".sh", ".cmake", ".md")
known = files()
basenames = {p.name for p in known}
presets = {p["name"] for p in json.loads((ROOT / "CMakePresets.json").read_text())["configurePresets"]}
commands = set(re.findall(r'^    \{"(\w+)",', text(pathlib.Path("app/main.cc")), re.M)) | {"version"}


def exists(name: str, base: pathlib.Path) -> bool:
    return any((ROOT / prefix / name).exists() for prefix in ("", "src", base))


def is_ours(name: str) -> bool:
    """True when a name with slashes must be one of our files: its first part is one of our folders."""
    first = name.split("/")[0]
    return first not in ("build", "") and ((ROOT / first).is_dir() or (ROOT / "src" / first).is_dir())


def check_word(word: str, base: pathlib.Path) -> str:
    word = re.sub(r":\d+$", "", word.removeprefix("./").rstrip("/"))
    if not re.fullmatch(r"[\w.][\w./+-]*", word) or exists(word, base):
        return ""
    if "/" in word:
        return f"no file {word}" if is_ours(word) else ""
    return f"no file {word}" if word.endswith(SOURCE_SUFFIXES) and word not in basenames else ""


def check_command(code: str) -> str:
    preset = re.search(r"--preset[ =](\w+)", code)
    if preset and preset[1] not in presets:
        return f"no preset {preset[1]}"
    command = re.match(r"(?:\S*/)?sglang ([a-z]\w*)", code)
    if command and command[1] not in commands:
        return f"sglang has no command {command[1]}"
    program = re.match(r"\./([\w./-]+)(?= |$)", code)
    return f"no file {program[1]}" if program and not program[1].startswith("build/") and not (ROOT / program[1]).exists() else ""


problems = []
checked = files(".md")
for path in checked:
    base = path.parent
    fenced = False
    for number, line in enumerate(text(path).splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        found = []
        if fenced:
            found.append(check_command(line.strip()))
        else:
            for code in re.findall(r"`([^`]+)`", line):
                found += [check_command(code)] + [check_word(word, base) for word in code.split()[:1] if "=" not in word]
            for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", line):
                if "://" not in target and not target.startswith("mailto:") and not (ROOT / base / target).exists():
                    found.append(f"dead link {target}")
        problems += [f"{path}:{number}: {what}" for what in dict.fromkeys(found) if what]
finish(problems, f"{len(checked)} documents, everything they name exists")
