#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares random small pipelines, made of every part that a tokenizer.json can name, with Hugging Face tokenizers.

  python tools/check_tokenizer_parts.py --driver build/release/src/text/tokenize_file [--count 300] [--seed 1] [--keep DIR] [--characters]

Each pipeline is trained on a little text, and must then give the same ids and the same decoded text for a few hundred odd strings, and report
only cuts that make no difference. --keep: writes the pipelines that differ. --characters: instead, runs every code point, alone and between
letters, through each normaliser and pre-tokeniser.
"""
import argparse
import json
import os
import pathlib
import random
import sys
import tempfile

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers  # noqa: E402

from check_tokenizers import LLAMA3, QWEN, run_driver  # noqa: E402
from tokenizer_corpus import RUNS, SNIPPETS, documents, words  # noqa: E402

ALPHABET = pre_tokenizers.ByteLevel.alphabet()


def a_normalizer(rng):
    n = normalizers
    return rng.choice([
        lambda: n.NFC(), lambda: n.NFD(), lambda: n.NFKC(), lambda: n.NFKD(), lambda: n.Lowercase(), lambda: n.StripAccents(), lambda: n.Nmt(),
        lambda: n.Strip(rng.random() < 0.5, rng.random() < 0.5), lambda: n.Prepend(rng.choice(["\u2581", "x ", "_"])),
        lambda: n.Replace(rng.choice([" ", "a", "e\u0301"]), rng.choice(["\u2581", "", "zz", "_"])),
        lambda: n.Replace(Regex(rng.choice([r"\s+", r" {2,}", r"[\u2018\u2019]", r"(?i:the)", r"\p{P}+"])), rng.choice([" ", "", "-"])),
        lambda: n.BertNormalizer(rng.random() < 0.5, rng.random() < 0.5, rng.choice([None, True, False]), rng.random() < 0.5)])()


def a_pre_tokenizer(rng):
    p = pre_tokenizers
    behavior = rng.choice(["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"])
    return rng.choice([
        lambda: p.ByteLevel(rng.random() < 0.5, use_regex=rng.random() < 0.6), lambda: p.Whitespace(), lambda: p.WhitespaceSplit(),
        lambda: p.BertPreTokenizer(), lambda: p.Punctuation(behavior), lambda: p.Digits(rng.random() < 0.5), lambda: p.UnicodeScripts(),
        lambda: p.FixedLength(rng.randint(1, 5)), lambda: p.CharDelimiterSplit(rng.choice("-a _")),
        lambda: p.Metaspace(prepend_scheme=rng.choice(["always", "never", "first"]), split=rng.random() < 0.6),
        lambda: p.Split(rng.choice([" ", "a", "--", "l"]), behavior, invert=rng.random() < 0.3),
        lambda: p.Split(Regex(rng.choice([LLAMA3, QWEN, r"\p{N}{1,3}", r"[A-Z]?[a-z]+", r"\s+", r"(?=(\d{3})+(?!\d))", r"\d{1,3}(?=(?:\d{3})*\b)", r"\w+",
                                          r"\bfoo|\Boo", r"[^\s\p{L}]+|\s+(?!\S)"])), behavior, invert=rng.random() < 0.3)])()


def a_model(rng):
    special = ["<unk>", "<s>", "</s>"]
    size = rng.choice([120, 300, 600])
    kind = rng.choice(["bpe", "bpe", "byte_fallback", "prefix", "suffix", "wordpiece", "wordlevel", "unigram"])
    common = dict(vocab_size=size, special_tokens=special, show_progress=False)
    if kind == "wordpiece":
        return models.WordPiece(unk_token="<unk>", max_input_chars_per_word=rng.choice([4, 20, 100])), trainers.WordPieceTrainer(**common)
    if kind == "wordlevel":
        return models.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer(**common)
    if kind == "unigram":
        return models.Unigram(), trainers.UnigramTrainer(vocab_size=size, special_tokens=special, show_progress=False, unk_token="<unk>")
    options = dict(unk_token=rng.choice([None, "<unk>"]), fuse_unk=rng.random() < 0.5, ignore_merges=rng.random() < 0.3)
    extra = {}
    if kind == "byte_fallback":
        options |= dict(byte_fallback=True, unk_token="<unk>")
        common["special_tokens"] = special + [f"<0x{b:02X}>" for b in range(256) if rng.random() < 0.98]
        common["vocab_size"] += 300
    if kind == "prefix":
        options["continuing_subword_prefix"] = extra["continuing_subword_prefix"] = "##"
    if kind == "suffix":
        options["end_of_word_suffix"] = extra["end_of_word_suffix"] = "</w>"
    return models.BPE(**options), trainers.BpeTrainer(initial_alphabet=ALPHABET if rng.random() < 0.6 else [], limit_alphabet=rng.choice([60, 300]), **common, **extra)


def a_decoder(rng):
    d = decoders
    one = lambda: rng.choice([  # noqa: E731
        lambda: d.ByteLevel(), lambda: d.Replace("\u2581", " "), lambda: d.ByteFallback(), lambda: d.Fuse(), lambda: d.Strip(" ", rng.randint(0, 2), rng.randint(0, 2)),
        lambda: d.Metaspace(prepend_scheme=rng.choice(["always", "never", "first"])), lambda: d.WordPiece("##", rng.random() < 0.5), lambda: d.BPEDecoder("</w>"),
        lambda: d.CTC("<s>", "|", rng.random() < 0.5)])()
    return rng.choice([lambda: None, one, lambda: d.Sequence([one() for _ in range(rng.randint(1, 4))])])()


def sequence(make, join, rng, most):
    parts = [make(rng) for _ in range(rng.randint(0, most))]
    return None if not parts else parts[0] if len(parts) == 1 else join(parts)


def a_pipeline(rng, sample):
    model, trainer = a_model(rng)
    t = Tokenizer(model)
    normalizer = sequence(a_normalizer, normalizers.Sequence, rng, 3)
    if normalizer:
        t.normalizer = normalizer
    pre = sequence(a_pre_tokenizer, pre_tokenizers.Sequence, rng, 3)
    if pre:
        t.pre_tokenizer = pre
    t.train_from_iterator(sample, trainer)
    flag = lambda: rng.random() < 0.3  # noqa: E731
    t.add_tokens([AddedToken(text, lstrip=flag(), rstrip=flag(), single_word=flag(), normalized=flag()) for text in
                  rng.sample(["word", "<le", "<left>", " x ", "\u00e9t\u00e9", "##", "a b", "\n\n", "[INST]"], rng.randint(0, 4))])
    if rng.random() < 0.5:
        t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    decoder = a_decoder(rng)
    if decoder:
        t.decoder = decoder
    return t


def texts_for(rng):
    out = ["", " ", "a", "  a  b ", "Hello, World's 1234567 don't!", "x--y--", "<left>\u00e9t\u00e9 word swords word", "a b\na b", "\u2581a \u2581", "\ufb01\u1e9b\u0323\u212b\u0130",
           "foo1234567abc 12345 1 999999", "\u4f60\u597d, \u4e16\u754c \u30a2\u30fc \uc548\ub155", "<s>a</s> <unk>"]
    while len(out) < 150:
        text = words(rng, rng.choice([3, 20, 60]))
        out.append(text if rng.random() < 0.6 else rng.choice(RUNS) * rng.choice([2, 30]) + rng.choice(SNIPPETS) + text)
    return out


def reference_text(tokenizer, ids):
    try:
        return tokenizer.decode(ids, skip_special_tokens=False)
    except BaseException as e:  # some decoders of the library panic on short tokens
        if isinstance(e, KeyboardInterrupt):
            raise
        return None


def differs(driver, tokenizer, texts, name, keep):
    with tempfile.TemporaryDirectory() as tmp:
        file = pathlib.Path(tmp, "tokenizer.json")
        tokenizer.save(str(file))
        got, times = run_driver(driver, str(file), None, [t.encode() for t in texts], 1)
        for text, (ids, decoded) in zip(texts, got):
            want = tokenizer.encode(text, add_special_tokens=False).ids
            problem = None
            if ids != want:
                at = next((k for k, (a, b) in enumerate(zip(ids, want)) if a != b), min(len(ids), len(want)))
                problem = f"ids at {at}: ours {ids[at:at + 8]} theirs {want[at:at + 8]} {[tokenizer.id_to_token(k) for k in want[max(0, at - 3):at + 4]]}"
            elif (theirs := reference_text(tokenizer, ids)) is not None and theirs.encode() != decoded:
                problem = f"text: ours {decoded[:60]!r} theirs {theirs.encode()[:60]!r}"
            if problem:
                data = json.loads(file.read_text())
                print(f"{name}: {text[:50]!r} {problem}\n   {json.dumps({k: data[k] for k in ('normalizer', 'pre_tokenizer', 'decoder')})[:700]} {data['model']['type']}")
                if keep:
                    pathlib.Path(keep, f"{name}.json").write_text(file.read_text())
                return True
        if times["cut_mismatches"]:
            print(f"{name}: {times['cut_mismatches']} texts with cuts that make a difference")
            return True
    return False


def characters(driver):
    """Byte-level ids show the normalised text; the suffix shows where words end."""
    n, p = normalizers, pre_tokenizers
    vocab = {c + s: i for i, (c, s) in enumerate((c, s) for s in ("", "</w>") for c in sorted(ALPHABET))}
    bytes_ = p.ByteLevel(add_prefix_space=False, use_regex=False)
    cases = {"NFC": n.NFC(), "NFD": n.NFD(), "NFKC": n.NFKC(), "NFKD": n.NFKD(), "Lowercase": n.Lowercase(), "StripAccents": n.StripAccents(), "Nmt": n.Nmt(),
             "Strip": n.Strip(), "Bert": n.BertNormalizer(), "Bert cased": n.BertNormalizer(lowercase=False),
             "Whitespace": p.Whitespace(), "WhitespaceSplit": p.WhitespaceSplit(), "BertPreTokenizer": p.BertPreTokenizer(), "Punctuation": p.Punctuation(),
             "Digits": p.Digits(True), "UnicodeScripts": p.UnicodeScripts(), "GPT-2": p.ByteLevel(False, use_regex=True), "Llama 3": p.Split(Regex(LLAMA3), "isolated"),
             **{f"[{c}]": p.Split(Regex(c), "isolated") for c in (r"\p{L}", r"\p{N}", r"\p{M}", r"\p{P}", r"\p{S}", r"\p{Lu}", r"\p{Ll}", r"\p{Lm}", r"\p{Lo}", r"\p{Lt}", r"\s", r"\w", r"\d", r"\p{Han}")}}
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    texts = [c for c in points[:0x3000]] + ["".join("a" + c for c in points[at:at + 64]) for at in range(0, len(points), 64)]
    bad = 0
    for name, step in cases.items():
        t = Tokenizer(models.BPE(vocab, [], end_of_word_suffix="</w>"))
        if isinstance(step, n.Normalizer):
            t.normalizer, t.pre_tokenizer = step, bytes_
        else:
            t.pre_tokenizer = p.Sequence([step, bytes_])
        with tempfile.TemporaryDirectory() as tmp:
            file = pathlib.Path(tmp, "tokenizer.json")
            t.save(str(file))
            got, _ = run_driver(driver, str(file), None, [x.encode() for x in texts], 1)
        wrong = [x for x, e, (ids, _) in zip(texts, t.encode_batch_fast(texts, add_special_tokens=False), got) if e.ids != ids]
        single = sorted({ord(c) for x in wrong for c in x if c != "a" and t.encode("a" + c, add_special_tokens=False).ids != run_one(driver, t, "a" + c)} if wrong and len(wrong) < 40 else [])
        print(f"{name}: {len(texts)} texts, {len(wrong)} differ {[hex(c) for c in single[:40]]}")
        bad += len(wrong)
    return bad


def run_one(driver, tokenizer, text):
    with tempfile.TemporaryDirectory() as tmp:
        file = pathlib.Path(tmp, "tokenizer.json")
        tokenizer.save(str(file))
        return run_driver(driver, str(file), None, [text.encode()], 1)[0][0][0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", required=True)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep")
    parser.add_argument("--characters", action="store_true")
    args = parser.parse_args()
    if args.characters:
        sys.exit(characters(args.driver) != 0)
    sample = [d.decode(errors="replace")[:500] for d in documents(0.05, seed=3)] + ["foo bar word \u00e9t\u00e9 the The 12 don't " * 5]
    bad = skipped = 0
    for i in range(args.count):
        rng = random.Random(args.seed * 1000 + i)
        try:
            tokenizer = a_pipeline(rng, sample)
            texts = texts_for(rng)
            texts = [t for t in texts if tokenizer.encode(t) is not None]
        except BaseException as e:  # the trainer or the library itself does not like the combination
            if isinstance(e, KeyboardInterrupt):
                raise
            skipped += 1
            print("skipped:", str(e)[:100])
            continue
        bad += differs(args.driver, tokenizer, texts, f"pipeline {args.seed * 1000 + i}", args.keep)
    print(f"{args.count} pipelines, {skipped} refused by the reference, {bad} differ")
    sys.exit(bad != 0)


if __name__ == "__main__":
    main()
