#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares our tokenizer with Hugging Face `tokenizers` on megabytes of mixed text, and times both.

  python tools/check_tokenizers.py --driver build/release/src/text/tokenize_file [--mb 6] [--gguf model.gguf ...] [DIR ...]

DIR holds tokenizer.json and perhaps tokenizer_config.json. A GGUF file of kind gpt2/smollm is checked against the tokenizer.json that its
family uses, put together from its vocabulary. A DIR whose tokenizer.json is SentencePiece-like is also checked through our GGUF reader.
Build the driver with: cmake --build build/release --target tokenize_file
"""
import argparse
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import time
import unicodedata

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer  # noqa: E402

SCRIPTS = [(0x20, 0x7E), (0xA0, 0x24F), (0x370, 0x3FF), (0x400, 0x52F), (0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F),
           (0x1100, 0x11FF), (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x2070, 0x218F), (0x2190, 0x23FF), (0x2460, 0x24FF), (0x2600, 0x27BF),
           (0x3000, 0x30FF), (0x3400, 0x34FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFE00, 0xFEFF), (0xFF00, 0xFFEF),
           (0x10000, 0x100FF), (0x10D40, 0x10D8F), (0x11380, 0x113EF), (0x1D400, 0x1D7FF), (0x1E900, 0x1E95F), (0x1F300, 0x1FAFF),
           (0x20000, 0x200FF), (0x2EBF0, 0x2EC20), (0xE0000, 0xE01EF)]
SPACES = [" ", "  ", "    ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2003", " \n ", "\x0b", "\x85", "\u200b", "\u180e", "\x1c", "\ufeff"]
SNIPPETS = ["I'm", "don't", "WE'RE", "it'\u017f", "'S", "'ll", "he'd", "12345678", "3.14159", "x_1", "foo(bar)", "==", "...", "--", "a\u0301\u0323",
            "\U0001F469\u200d\U0001F469\u200d\U0001F467", "\u2460\u00bd\u2167", "<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>", "<|endoftext|>",
            "<|begin_of_text|>", "<|eot_id|>", "<|im", "<think>", "\u2581", "<0x41>", "\u1e9b\u0323", "\u212b", "\uac01", "e\u0301", "\u0130"]


def documents(megabytes, seed=7):
    """Byte strings, about 4 KB each but for a few long ones; some are not UTF-8."""
    rng = random.Random(seed)
    goal = int(megabytes * 1e6)
    docs = []

    def words(n):
        out = []
        while n > 0:
            kind = rng.random()
            if kind < 0.45:
                lo, hi = rng.choice(SCRIPTS)
                piece = "".join(c for c in (chr(rng.randint(lo, hi)) for _ in range(rng.randint(1, 9))))
            elif kind < 0.6:
                piece = rng.choice(SNIPPETS)
            elif kind < 0.8:
                piece = rng.choice(SPACES) * rng.choice([1, 1, 1, 2, 5])
            elif kind < 0.9:
                piece = "".join(rng.choice("abcdefghijklmnopqrstuvwxyzABCDEF0123456789'-_.,;:!?()[]{}<>/\\ ") for _ in range(rng.randint(1, 30)))
            else:
                piece = chr(rng.choice([rng.randint(0, 0xD7FF), rng.randint(0xE000, 0x10FFFF)])) * rng.choice([1, 1, 2, 40])
            out.append(piece)
            n -= len(piece)
        return "".join(out)

    sources = sorted(pathlib.Path(os.__file__).parent.glob("*.py"))[:200]
    for extra in ("/usr/share/common-licenses", "/usr/share/doc", "/usr/share/man"):
        root = pathlib.Path(extra)
        if root.is_dir():
            sources += sorted(p for p in root.glob("*") if p.is_file())[:50]
    size = 0
    for path in sources:  # real text, up to 60 %
        data = path.read_bytes()
        for at in range(0, len(data), 4096):
            docs.append(data[at:at + 4096])  # may cut characters in two
        size += len(data)
        if size > 0.6 * goal:
            break
    names = [unicodedata.name(chr(c), "") + " " + chr(c) for c in range(0x21, 0x30000) if unicodedata.name(chr(c), "")]
    for at in range(0, len(names), 150):
        docs.append("\n".join(names[at:at + 150][:rng.randint(20, 150)]).encode())
        size += len(docs[-1])
        if size > 0.75 * goal:
            break
    for run in ("a", " ", "\n", "\u4f60", "ab", "0", "!", "\U0001F600", "\u0301", " \n", "_", "\t ", "Aa", "'s"):
        docs.append((run * rng.choice([1, 50, 3000])).encode())
    while size < goal:
        doc = words(rng.choice([5, 50, 2000, 4000])).encode()
        if rng.random() < 0.2:
            doc = bytearray(doc)
            for _ in range(5):
                doc[rng.randrange(len(doc))] = rng.randrange(256)
            doc = bytes(doc)
        docs.append(doc)
        size += len(doc)
    return docs


def run_driver(driver, tokenizer, config, docs, repeat):
    with tempfile.NamedTemporaryFile() as f:
        f.write(b"".join(struct.pack("<I", len(d)) + d for d in docs))
        f.flush()
        done = subprocess.run([driver, tokenizer, config or "-", f.name, str(repeat)], capture_output=True)
    if done.returncode:
        sys.exit(done.stderr.decode())
    out, at, result = done.stdout, 0, []
    for _ in docs:
        n = struct.unpack_from("<I", out, at)[0]
        ids = list(struct.unpack_from(f"<{n}i", out, at + 4))
        at += 4 + 4 * n
        size = struct.unpack_from("<I", out, at)[0]
        result.append((ids, out[at + 4:at + 4 + size]))
        at += 4 + size
    return result, json.loads(done.stderr)


def compare(name, driver, reference, files, docs):
    texts = [d.decode(errors="replace") for d in docs]
    megabytes = sum(map(len, docs)) / 1e6
    reference.encode_batch_fast(texts[:50], add_special_tokens=False)
    start = time.perf_counter()
    expected = [e.ids for e in reference.encode_batch_fast(texts, add_special_tokens=False)]
    best = time.perf_counter() - start
    bad_total = 0
    for label, tokenizer, config in files:
        got, times = run_driver(driver, tokenizer, config, docs, 1)
        bad = bad_decode = 0
        for text, want, (ids, decoded) in zip(texts, expected, got):
            if ids != want:
                bad += 1
                if bad <= 3:
                    at = next((i for i, (a, b) in enumerate(zip(ids, want)) if a != b), min(len(ids), len(want)))
                    print(f"  {name}: ids differ at {at}: ours {ids[at - 2:at + 5]} theirs {want[at - 2:at + 5]}: "
                          f"{reference.decode(want[max(0, at - 5):at + 8], skip_special_tokens=False)!r}")
            theirs = reference.decode(ids, skip_special_tokens=False).encode()
            if theirs != decoded:
                bad_decode += 1
                if bad_decode <= 3:
                    print(f"  {name}: decode differs: ours {decoded[:80]!r} theirs {theirs[:80]!r}")
        print(f"{name} ({label}): {megabytes:.1f} MB, {len(docs)} documents, {sum(map(len, expected))} tokens, {bad} encode and {bad_decode} "
              f"decode mismatches; ours {megabytes / times['encode_seconds']:.1f} MB/s, theirs {megabytes / best:.1f} MB/s "
              f"({best / times['encode_seconds']:.1f}x); load {times['load_seconds']:.2f} s", flush=True)
        bad_total += bad + bad_decode
    return bad_total


def smollm_json(fields):
    """The tokenizer.json of a smollm GGUF's family around the vocabulary of that GGUF."""
    tokens = fields["tokens"]
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, (t, kind) in enumerate(zip(tokens, fields["token_types"])) if kind == 3]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "added_tokens": added, "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]},
            "post_processor": None, "decoder": dict(byte_level, add_prefix_space=True),
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "vocab": {t: i for i, t in enumerate(tokens)}, "merges": fields["merges"]}}


def gguf_fields(path):
    from gguf import GGUFReader
    get = GGUFReader(path).fields
    value = lambda key: get["tokenizer.ggml." + key].contents() if "tokenizer.ggml." + key in get else None  # noqa: E731
    return {"gguf": True, "model": value("model"), "pre": value("pre") or "default", "tokens": value("tokens"),
            "token_types": value("token_type"), "merges": value("merges")}


def spm_as_gguf(data):
    """What a llama GGUF would say for a Llama-2-like tokenizer.json: scores fall with the first merge that makes a token."""
    vocab = data["model"]["vocab"]
    tokens = [t for t, _ in sorted(vocab.items(), key=lambda kv: kv[1])]
    special = {t["content"] for t in data["added_tokens"] if t["special"]}
    types = [2 if t == "<unk>" else 3 if t in special else 6 if len(t) == 6 and t.startswith("<0x") else 1 for t in tokens]
    rank = {}
    for i, merge in enumerate(data["model"]["merges"]):
        rank.setdefault("".join(merge.split(" ") if isinstance(merge, str) else merge), i)
    scores = [-float(rank.get(t, 10**7)) if k == 1 else 0.0 for t, k in zip(tokens, types)]
    return {"gguf": True, "model": "llama", "tokens": tokens, "token_types": types, "scores": scores, "unk": vocab.get("<unk>")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", required=True)
    parser.add_argument("--mb", type=float, default=6)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--gguf", action="append", default=[])
    parser.add_argument("dirs", nargs="*")
    args = parser.parse_args()
    docs = documents(args.mb, args.seed)
    bad = 0
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        for path in args.gguf:
            fields = gguf_fields(path)
            (tmp / "gguf.json").write_text(json.dumps(fields))
            (tmp / "tokenizer.json").write_text(json.dumps(smollm_json(fields)))
            bad += compare(pathlib.Path(path).name, args.driver, Tokenizer.from_file(str(tmp / "tokenizer.json")),
                           [("GGUF", str(tmp / "gguf.json"), None), ("json", str(tmp / "tokenizer.json"), None)], docs)
        for directory in map(pathlib.Path, args.dirs):
            file, config = directory / "tokenizer.json", directory / "tokenizer_config.json"
            files = [("json", str(file), str(config) if config.exists() else None)]
            data = json.loads(file.read_text())
            if data["model"].get("byte_fallback") and data["pre_tokenizer"] is None:
                (tmp / "spm.json").write_text(json.dumps(spm_as_gguf(data)))
                files.append(("GGUF scores", str(tmp / "spm.json"), None))
            bad += compare(str(directory), args.driver, Tokenizer.from_file(str(file)), files, docs)
    sys.exit(bad != 0)


if __name__ == "__main__":
    main()
