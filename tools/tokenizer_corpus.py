# SPDX-License-Identifier: Apache-2.0
"""Texts for check_tokenizers.py: every Unicode block, code, prose, random bytes, and runs that are meant to hurt."""
import os
import pathlib
import random
import unicodedata

SCRIPTS = [(0x20, 0x7E), (0xA0, 0x24F), (0x370, 0x3FF), (0x400, 0x52F), (0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F),
           (0x1100, 0x11FF), (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x2070, 0x218F), (0x2190, 0x23FF), (0x2460, 0x24FF), (0x2600, 0x27BF),
           (0x3000, 0x30FF), (0x3400, 0x34FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFE00, 0xFEFF), (0xFF00, 0xFFEF),
           (0x10000, 0x100FF), (0x10D40, 0x10D8F), (0x11380, 0x113EF), (0x1D400, 0x1D7FF), (0x1E900, 0x1E95F), (0x1F300, 0x1FAFF),
           (0x20000, 0x200FF), (0x2EBF0, 0x2EC20), (0xE0000, 0xE01EF)]
SPACES = [" ", "  ", "    ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2003", " \n ", "\x0b", "\x85", "\u200b", "\u180e", "\x1c", "\ufeff"]
SNIPPETS = ["I'm", "don't", "WE'RE", "it'\u017f", "'S", "'ll", "he'd", "12345678", "3.14159", "x_1", "foo(bar)", "==", "...", "--", "a\u0301\u0323",
            "\U0001F469\u200d\U0001F469\u200d\U0001F467", "\u2460\u00bd\u2167", "<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>", "<|endoftext|>",
            "<|begin_of_text|>", "<|eot_id|>", "<|im", "<think>", "\u2581", "<0x41>", "\u1e9b\u0323", "\u212b", "\uac01", "e\u0301", "\u0130"]
RUNS = ["a", " ", "\n", "\u4f60", "ab", "0", "!", "\U0001F600", "\u0301", " \n", "_", "\t ", "Aa", "'s", "A", "1,", "\r\n", "\u3000", "\u00b2", "\u0e01\u0e33", "/", "=", ". ", "\u2581", "<", "a'"]


def words(rng, n):
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


def source_files():
    """Code and prose that a development machine has."""
    library = pathlib.Path(os.__file__).parent
    files = sorted(library.glob("*.py")) + sorted(library.glob("*/*.py"))
    for folder, pattern in (("/usr/share/common-licenses", "*"), ("/usr/share/doc", "*/copyright"), ("/usr/share/perl", "**/*.pm"), ("/usr/include", "*.h"),
                            ("/usr/share/i18n/locales", "*"), ("/usr/share/common-lisp", "**/*.lisp")):
        root = pathlib.Path(folder)
        if root.is_dir():
            files += sorted(p for p in root.glob(pattern) if p.is_file())
    random.Random(1).shuffle(files)
    return files


def documents(megabytes, seed=7):
    """Byte strings, about 4 KB each but for a few long ones; some are not UTF-8. Real text is at most 60 %."""
    rng = random.Random(seed)
    goal = int(megabytes * 1e6)
    docs, size = [], 0

    def add(data):
        nonlocal size
        docs.append(data)
        size += len(data)

    for path in source_files():
        data = path.read_bytes()[:200_000]
        for at in range(0, len(data), 4096):
            add(data[at:at + 4096])  # may cut characters in two
        if size > 0.6 * goal:
            break
    names = [unicodedata.name(chr(c), "") + " " + chr(c) for c in range(0x21, 0x30000) if unicodedata.name(chr(c), "")]
    for at in range(0, len(names), 150):
        add("\n".join(names[at:at + 150][:rng.randint(20, 150)]).encode())
        if size > 0.7 * goal:
            break
    if megabytes >= 2:  # every code point, in order and between letters
        for block in range(0, 0x110000, 0x400):
            chars = [chr(c) for c in range(block, block + 0x400) if not 0xD800 <= c < 0xE000]
            if block < 0x20000 or block >= 0xE0000 and block < 0xE0400 or rng.random() < 0.05:
                add("".join(chars).encode())
                add("".join(rng.choice(["a", " ", "1", ".", "\n", "B"]) + c for c in chars).encode())
    for run in RUNS:
        for times in (1, 50, 3000, int(1000 * megabytes)):
            add((run * times).encode()[:int(1e5)])
    while size < goal:
        if rng.random() < 0.03:
            add(rng.randbytes(rng.choice([3, 100, 4000])))
            continue
        doc = words(rng, rng.choice([5, 50, 2000, 4000])).encode()
        if rng.random() < 0.2:
            doc = bytearray(doc)
            for _ in range(5):
                doc[rng.randrange(len(doc))] = rng.randrange(256)
            doc = bytes(doc)
        add(doc)
    return docs
