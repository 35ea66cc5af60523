#!/usr/bin/env python3
"""The official JSON Schema Test Suite through this server's grammar engine.

Every group of tests has a schema; a schema that compiles has to decide every one of its documents as the suite says, and a schema that is
refused has to be refused by name. Exit status 1 when a document is decided wrongly.

usage: check_grammar_suite.py --binary build/release/src/grammar/grammar_check --suite json-schema-test-suite.tar.gz [--drafts draft7,draft2020-12]

Left out: the files `format.json` beside the keywords, which say that formats are annotations (here they are assertions; the files under
optional/format, which say what they assert, are run); draft 7's optional `content.json` (content keywords are annotations); `vocabulary.json`
(a meta-schema elsewhere would say which keywords count).

SPDX-License-Identifier: Apache-2.0
"""
import argparse
import json
import re
import subprocess
import sys
import tarfile

DRAFTS = {"draft7": "http://json-schema.org/draft-07/schema#", "draft2020-12": "https://json-schema.org/draft/2020-12/schema"}


def exact(text):
    """Numbers keep their digits: they are strings here, and `dump` writes them as they were."""
    return json.loads(text, parse_float=lambda s: f"\u0001{s}\u0001", parse_int=lambda s: f"\u0001{s}\u0001")


def dump(value):
    return re.sub(r'"\\u0001([^"\\]*)\\u0001"', r"\1", json.dumps(value))


def load(path, drafts):
    cases, where = [], []
    with tarfile.open(path) as archive:
        for member in sorted(archive.getmembers(), key=lambda m: m.name):
            parts = member.name.split("/")
            draft = next((d for d in drafts if d in parts), None)
            if draft is None or not member.name.endswith(".json"):
                continue
            name = "/".join(parts[parts.index(draft) + 1:])[:-5]
            if name in ("format", "vocabulary", "optional/content"):
                continue
            for group in exact(archive.extractfile(member).read().decode()):
                schema = group["schema"]
                if isinstance(schema, dict) and "$schema" not in schema:
                    schema = {"$schema": DRAFTS[draft], **schema}
                tests = [{"valid": t["valid"], "text": dump(t["data"]), "what": t["description"]} for t in group["tests"]]
                where.append((draft, name, group["description"]))
                cases.append({"id": len(cases), "schema": dump(schema), "tests": tests})
    return cases, where


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--drafts", default="draft7,draft2020-12")
    args = parser.parse_args()
    cases, where = load(args.suite, args.drafts.split(","))
    done = subprocess.run([args.binary], input="\n".join(json.dumps(c) for c in cases), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"grammar_check failed: {done.stderr[-2000:]}")
    table, wrong, refused = {}, [], []
    for case, place, line in zip(cases, where, done.stdout.splitlines()):
        reply = json.loads(line)
        row = table.setdefault(place[:2], [0, 0, 0, 0])
        row[0] += 1
        if "error" in reply and "no value satisfies" in reply["error"]:
            # Nothing to generate: refused as unsatisfiable, and no document may be valid.
            reply["verdicts"] = [{"ok": False} for _ in case["tests"]]
        elif "error" in reply:
            row[1] += 1
            refused.append(f"{'/'.join(place)}: {reply['error']}")
            continue
        for test, verdict in zip(case["tests"], reply["verdicts"]):
            row[2] += 1
            if verdict["ok"] == test["valid"]:
                row[3] += 1
            else:
                wrong.append(f"{'/'.join(place)}: {test['what']}: {case['schema'][:300]} <- {test['text'][:200]} ({'too strict' if test['valid'] else 'too loose'})")
    print("| draft | file | schemas | refused | documents | right |\n|---|---|---|---|---|---|")
    for (draft, name), row in sorted(table.items()):
        print(f"| {draft} | {name} | " + " | ".join(str(n) for n in row) + " |")
    sums = [sum(r[i] for r in table.values()) for i in range(4)]
    print("| all | | " + " | ".join(str(n) for n in sums) + " |")
    print("\nrefused:", *refused, sep="\n")
    print("\nwrong:", *wrong, sep="\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
