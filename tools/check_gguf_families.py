#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares what we do for each tokenizer.ggml.pre with the patterns that llama.cpp publishes for it.

  python tools/check_gguf_families.py --driver build/release/src/text/tokenize_file --source llama-vocab.cpp --vocab FOLDER [--mb 0.5] [NAME...]

--source: llama.cpp's file of that name, read for its names and patterns: where a comment has the model's original pattern, that one counts.
--vocab: a folder with a byte-level tokenizer.json, whose vocabulary all families share; the more tokens it has, the more a wrong cut shows.
The reference is Hugging Face tokenizers with these patterns one after the other. llama.cpp knows no normal forms, so the texts are NFC already.
Build the driver with: cmake --build build/release --target tokenize_file
"""
import argparse
import ast
import json
import pathlib
import re
import sys
import tempfile
import unicodedata

from check_tokenizers import BYTES, HuggingFace, bpe_as_gguf, run_driver, split
from tokenizer_corpus import documents
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"')
# What stands for code of its own there: the same as a pattern. "": cannot be said that way.
CODE = {r"\p{Han}+": "", r"\p{AFMoE_digits}": r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"}


def patterns_of(source):
    """kind -> patterns."""
    out, kinds, patterns, original = {}, [], [], None
    inside = False
    for line in source.splitlines():
        line = line.strip()
        if kind := re.match(r"case LLAMA_VOCAB_PRE_TYPE_(\w+):", line):
            kinds.append(kind.group(1))
            original = None
        if not kinds:
            continue
        if line.startswith("//"):
            literal = LITERAL.search(line)
            original = ast.literal_eval(literal.group()) if literal and "\\p{" in literal.group() else original
        elif line.startswith("regex_exprs = {"):
            inside, patterns = True, []
        elif inside and line.startswith("};"):
            inside = False
            for kind in kinds:
                out[kind] = patterns
            kinds = []
        elif inside:
            for literal in LITERAL.findall(line):
                patterns.append(original or ast.literal_eval(literal))
                original = None
    return out


def names_of(source):
    """name -> (kind, whether a word of the vocabulary needs no merges)."""
    out, names = {}, []
    for line in source.splitlines():
        names += re.findall(r'tokenizer_pre == "([^"]+)"', line)
        if names and (kind := re.search(r"pre_type = LLAMA_VOCAB_PRE_TYPE_(\w+);", line)):
            out.update({name: [kind.group(1), False] for name in names})
            last, names = names, []
        elif "ignore_merges = true" in line and out:
            for name in last:
                out[name][1] = True
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--vocab", required=True)
    parser.add_argument("--mb", type=float, default=0.5)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    source = pathlib.Path(args.source).read_text()
    patterns, names = patterns_of(source), names_of(source)
    data = json.loads((pathlib.Path(args.vocab) / "tokenizer.json").read_text())
    fields = bpe_as_gguf(data, "")
    ids = {t: i for i, t in enumerate(fields["tokens"])}
    pairs = [tuple(m.split(" ")) for m in fields["merges"]]
    texts = [unicodedata.normalize("NFC", d.decode(errors="replace")) for d in documents(args.mb)]
    docs, done, bad_total = [t.encode() for t in texts], {}, 0
    for name, (kind, ignore_merges) in sorted(names.items(), key=lambda n: n[1][0]):
        steps = [CODE.get(p, p) for p in patterns.get(kind, [])]
        if args.names and name not in args.names or name == "default":
            continue
        if not steps or "" in steps:
            print(f"{name}: not a matter of patterns there")
            continue
        key = (tuple(steps), ignore_merges)
        if key not in done:
            t = Tokenizer(models.BPE({w: i for w, i in ids.items()}, pairs, ignore_merges=ignore_merges))
            t.pre_tokenizer = pre_tokenizers.Sequence([split(p) for p in steps] + [BYTES])
            t.decoder = decoders.ByteLevel()
            for word, k in zip(fields["tokens"], fields["token_types"]):
                if k == 3:
                    t.add_special_tokens([AddedToken(word, normalized=False, special=True)])
            done = {key: HuggingFace(t).encode(texts)}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            json.dump({**fields, "pre": name}, f)
            f.flush()
            try:
                got = run_driver(args.driver, f.name, None, docs, 1)[0]
            except SystemExit as error:
                print(f"{name} ({kind}): {str(error)[:100]}")
                bad_total += 1
                continue
        wrong = [i for i, want in enumerate(done[key]) if got[i][0] != want]
        print(f"{name} ({kind}): {len(wrong)} of {len(docs)} differ", flush=True)
        bad_total += bool(wrong)
        for i in wrong[:1]:
            want, ours = done[key][i], got[i][0]
            at = next((k for k, (a, b) in enumerate(zip(ours, want)) if a != b), 0)
            say = lambda some: [fields["tokens"][t] for t in some[max(0, at - 2):at + 4]]  # noqa: E731
            print(f"  ours {say(ours)} theirs {say(want)}")
    sys.exit(bad_total != 0)


if __name__ == "__main__":
    main()
