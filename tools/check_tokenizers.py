#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares our tokenizer with the reference libraries on megabytes of mixed text (tokenizer_corpus.py), and times both.

  python tools/check_tokenizers.py --driver build/release/src/text/tokenize_file [--mb 20] [--speed | --runs] PATH...

PATH is one of
  a folder with tokenizer.json (and perhaps tokenizer_config.json)   reference: Hugging Face tokenizers. A SentencePiece-like one also runs
                                                                     through our GGUF reader, with scores made from its merges
  a GGUF file    reference: Hugging Face tokenizers with the pipeline of that family, put together here, around the file's vocabulary
  GGUF=FOLDER    reference: the tokenizer.json in FOLDER, which must be of the same model
  PRE:FOLDER     what a GGUF file with tokenizer.ggml.pre PRE made from FOLDER's tokenizer.json would hold; reference: that tokenizer.json
  *.model*       reference: the sentencepiece library
  *.tiktoken     reference: the tiktoken library
  tekken*.json   reference: the tiktoken library
The driver also checks that every cut it reports makes no difference. --speed: best of three on both sides, in turn.
--runs: instead of comparing, texts of one repeated piece (RUNS of the corpus), 128 KiB and 1 MiB of each: eight times the text may take at most 24
times as long (n log n, and caches that are too small; 64 would be quadratic).
Build the driver with: cmake --build build/release --target tokenize_file
"""
import argparse
import base64
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers  # noqa: E402
from tokenizer_corpus import RUNS, documents  # noqa: E402

CL100K_SPECIAL = {"<|endoftext|>": 100257, "<|fim_prefix|>": 100258, "<|fim_middle|>": 100259, "<|fim_suffix|>": 100260, "<|endofprompt|>": 100276}
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
QWEN = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
QWEN35 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DEEPSEEK_LETTERS = (r"\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF}\x{370}-\x{373}\x{376}"
                    r"\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}"
                    r"\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}"
                    r"\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}"
                    r"\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}"
                    r"\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}"
                    r"\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-"
                    r"\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}"
                    r"\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}"
                    r"\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-"
                    r"\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}"
                    r"]+")
DEEPSEEK_WIDE = "[一-龥ࠀ-一가-퟿]+"
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


FAMILIES = {  # pre -> normalizer, pre-tokenizers, ignore_merges
    "default": (None, [GPT2], False), "gpt-2": (None, [GPT2], False),
    "mpt": (normalizers.NFC(), [GPT2], False),
    "smollm": (None, [pre_tokenizers.Digits(True), GPT2], False), "starcoder": (None, [pre_tokenizers.Digits(True), GPT2], False),
    "refact": (None, [pre_tokenizers.Digits(True), GPT2], False), "command-r": (normalizers.NFC(), [pre_tokenizers.Digits(True), GPT2], False),
    "llama-bpe": (None, [split(LLAMA3), BYTES], True), "qwen2": (normalizers.NFC(), [split(QWEN), BYTES], False),
    "qwen35": (normalizers.NFC(), [split(QWEN35), BYTES], False),
    "falcon": (None, [pre_tokenizers.Punctuation("contiguous"), GPT2, pre_tokenizers.Digits(False), split("[0-9][0-9][0-9]")], False),
    "deepseek-llm": (None, [split("[\r\n]"), split(DEEPSEEK_LETTERS), split("\\s?[!-/:-~！-／：-～‘-‟　-。]+"), split("\\s+$"), split(DEEPSEEK_WIDE),
                            pre_tokenizers.Digits(True), BYTES], False),
    "deepseek-coder": (None, [split("[\r\n]"), split("\\s?\\p{L}+"), split("\\s?\\p{P}+"), split(DEEPSEEK_WIDE), pre_tokenizers.Digits(True), BYTES], False),
}


def gguf_fields(path):
    from gguf import GGUFReader
    get = GGUFReader(path).fields
    value = lambda key: get["tokenizer.ggml." + key].contents() if "tokenizer.ggml." + key in get else None  # noqa: E731
    fields = {"gguf": True, "model": value("model"), "pre": value("pre") or "default", "tokens": value("tokens"), "token_types": value("token_type"),
              "merges": value("merges"), "scores": value("scores"), "unk": value("unknown_token_id"), "cls": value("cls_token_id"),
              "sep": value("seperator_token_id"), "remove_extra_whitespaces": value("remove_extra_whitespaces") or False}
    if value("add_space_prefix") is not None:
        fields["add_space_prefix"] = value("add_space_prefix")
    if value("precompiled_charsmap") is not None:
        fields["charsmap"] = base64.b64encode(bytes(value("precompiled_charsmap"))).decode()
    return fields


def metaspace_decoder(strip):
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence(steps + [decoders.Strip(" ", 1, 0)] if strip else steps)


def gguf_reference(f):
    """What the model's tokenizer.json says, around the vocabulary of the GGUF file."""
    tokens, kind = f["tokens"], f["model"]
    vocab = {t: i for i, t in enumerate(tokens)}
    special = [(t, k) for t, k in zip(tokens, f["token_types"]) if k in (3, 4) or k == 2 and kind != "gpt2"]
    pairs = [(m[:m.index(" ", 1)], m[m.index(" ", 1) + 1:]) for m in f["merges"] or []]
    unk = next((t for t, k in zip(tokens, f["token_types"]) if k == 2), None)
    if kind == "gpt2":
        normalizer, steps, ignore = FAMILIES[f["pre"]]
        t = Tokenizer(models.BPE(vocab, pairs, ignore_merges=ignore))
        if normalizer:
            t.normalizer = normalizer
        t.pre_tokenizer = pre_tokenizers.Sequence(steps)
        t.decoder = decoders.ByteLevel()
    elif kind == "gemma4":
        t = Tokenizer(models.BPE(vocab, pairs, unk_token=unk, fuse_unk=True, byte_fallback=True))
        t.normalizer = normalizers.Replace(" ", "\u2581")
        t.decoder = metaspace_decoder(False)
    elif kind == "bert":
        words = {(w[1:] if w.startswith("\u2581") else w if k != 1 or w.startswith("[") and w.endswith("]") and len(w) > 2 else "##" + w): i
                 for i, (w, k) in enumerate(zip(tokens, f["token_types"]))}
        t = Tokenizer(models.WordPiece(words, unk_token=tokens[f["unk"]], max_input_chars_per_word=100))
        t.normalizer, t.pre_tokenizer, t.decoder = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    elif kind == "t5":
        t = Tokenizer(models.Unigram(list(zip(tokens, f["scores"])), unk_id=f["unk"], byte_fallback=6 in f["token_types"]))
        t.normalizer = normalizers.Precompiled(base64.b64decode(f["charsmap"]))
        t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")])
        t.decoder = decoders.Metaspace(prepend_scheme="always")
    else:  # the merges that the scores mean, as transformers finds them
        scored = sorted((-s, i) for i, s in enumerate(f["scores"]) if f["token_types"][i] in (1, 4, 5))
        merges = []
        for _, i in scored:
            cuts = [(tokens[i][:c], tokens[i][c:]) for c in range(1, len(tokens[i]))]
            merges += sorted(((a, b) for a, b in cuts if a in vocab and b in vocab), key=lambda ab: (vocab[ab[0]], vocab[ab[1]]))
        t = Tokenizer(models.BPE(vocab, merges, unk_token=unk, fuse_unk=True, byte_fallback=True))
        t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
        t.decoder = metaspace_decoder(True)
    for text, k in special:
        token = AddedToken(text, normalized=False, special=k != 4)
        t.add_special_tokens([token]) if k != 4 else t.add_tokens([token])
    return t


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


def bpe_as_gguf(data, pre):
    """What a gpt2 GGUF would say for a byte-level tokenizer.json."""
    vocab = dict(data["model"]["vocab"])
    types = {}
    for t in data["added_tokens"]:
        vocab[t["content"]] = t["id"]
        types[t["id"]] = 3 if t["special"] else 4
    tokens = [f"[PAD{i}]" for i in range(max(vocab.values()) + 1)]
    kinds = [5] * len(tokens)
    for text, i in vocab.items():
        tokens[i], kinds[i] = text, types.get(i, 1)
    merges = [m if isinstance(m, str) else " ".join(m) for m in data["model"]["merges"]]
    return {"gguf": True, "model": "gpt2", "pre": pre, "tokens": tokens, "token_types": kinds, "merges": merges}


class HuggingFace:
    def __init__(self, tokenizer):
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.t = tokenizer

    def encode(self, texts):
        return [e.ids for e in self.t.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids):
        return self.t.decode(ids, skip_special_tokens=False)


class SentencePiece:
    def __init__(self, path):
        import sentencepiece
        self.t = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.control = [self.t.id_to_piece(i) for i in range(self.t.get_piece_size()) if self.t.is_control(i) or self.t.is_unknown(i)]

    def usable(self, text):  # control symbols in the text are tokens for us, as in transformers; NUL ends a text for the library
        return "\0" not in text and not any(c in text for c in self.control)

    def encode(self, texts):
        return [self.t.encode(text) for text in texts]

    def decode(self, ids):
        return None


class TikToken:
    def __init__(self, pattern, ranks, special, nfc=False):
        import tiktoken
        import unicodedata
        self.t = tiktoken.Encoding("x", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
        self.norm = (lambda s: unicodedata.normalize("NFC", s)) if nfc else (lambda s: s)

    def encode(self, texts):
        return [self.t.encode(self.norm(text), allowed_special="all") for text in texts]

    def decode(self, ids):
        return None


def tiktoken_reference(path):
    ranks = {base64.b64decode(line.split()[0]): int(line.split()[1]) for line in path.read_bytes().splitlines() if line}
    qwen = path.name.startswith("qwen")
    special = {"<|endoftext|>": len(ranks), "<|im_start|>": len(ranks) + 1, "<|im_end|>": len(ranks) + 2} if qwen else CL100K_SPECIAL
    return TikToken(QWEN35 if "3_6" in path.name else QWEN if qwen else LLAMA3, ranks, special, qwen)


def tekken_reference(data):
    special = data["config"].get("default_num_special_tokens", 1000)
    size = data["config"]["default_vocab_size"] - special
    ranks = {base64.b64decode(v["token_bytes"]): v["rank"] for v in data["vocab"][:size]}
    names = {t["token_str"]: t["rank"] for t in data.get("special_tokens") or []} or {"<unk>": 0, "<s>": 1, "</s>": 2}
    return TikToken(data["config"]["pattern"], {text: rank + special for text, rank in ranks.items()}, names)


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


def check_runs(name, args, files):
    """Whether encoding stays linear where there is nothing but one piece."""
    docs = [(run.encode() * size)[:size] for run in RUNS for size in (1 << 17, 1 << 20)]
    bad = 0
    for label, tokenizer, config in files:
        seconds = run_driver(args.driver, tokenizer, config, docs, -3)[1]["document_seconds"]
        pairs = list(zip(RUNS, seconds[::2], seconds[1::2]))
        slowest = min(pairs, key=lambda p: 1 / p[2])
        steepest = max(pairs, key=lambda p: p[2] / p[1])
        wrong = [run for run, small, large in pairs if large > 24 * small and large > 0.02]
        bad += len(wrong)
        print(f"| {name} ({label}) | {1.048576 / slowest[2]:.1f} ({slowest[0]!r}) | {steepest[2] / steepest[1]:.1f} ({steepest[0]!r}) | {len(wrong)} |",
              flush=True)
    return bad


def compare(name, args, reference, files, docs):
    if args.runs:
        return check_runs(name, args, files)
    texts = [d.decode(errors="replace") for d in docs]
    if hasattr(reference, "usable"):
        docs = [d for d, text in zip(docs, texts) if reference.usable(text)]
        texts = [text for text in texts if reference.usable(text)]
    megabytes = sum(map(len, docs)) / 1e6
    reference.encode(texts[:50])
    best = 1e9
    for _ in range(3 if args.speed else 1):
        start = time.perf_counter()
        expected = reference.encode(texts)
        best = min(best, time.perf_counter() - start)
    bad_total = 0
    for label, tokenizer, config in files:
        got, times = run_driver(args.driver, tokenizer, config, docs, 3 if args.speed else 1)
        bad = bad_decode = 0
        for text, want, (ids, decoded) in zip(texts, expected, got):
            if ids != want:
                bad += 1
                if bad <= 3:
                    at = next((i for i, (a, b) in enumerate(zip(ids, want)) if a != b), min(len(ids), len(want)))
                    print(f"  {name}: ids differ at {at} of {len(want)}: ours {ids[max(0, at - 2):at + 5]} theirs {want[max(0, at - 2):at + 5]}: "
                          f"{reference.decode(want[max(0, at - 5):at + 8])!r} {text[:60]!r}")
            theirs = reference.decode(ids) if not args.speed else None
            if theirs is not None and theirs.encode() != decoded:
                bad_decode += 1
                if bad_decode <= 3:
                    print(f"  {name}: decode differs: ours {decoded[:80]!r} theirs {theirs.encode()[:80]!r}")
        print(f"| {name} ({label}) | {megabytes:.1f} | {sum(map(len, expected))} | {bad} / {bad_decode} / {times['cut_mismatches']} of {times['cuts']} | "
              f"{megabytes / times['encode_seconds']:.1f} | {megabytes / best:.1f} | {best / times['encode_seconds']:.1f}x | {times['load_seconds']:.2f} |", flush=True)
        bad_total += bad + bad_decode + times["cut_mismatches"]
    return bad_total


def check_pair(gguf, folder, args, docs, tmp):
    file = pathlib.Path(folder) / "tokenizer.json"
    fields = gguf_fields(pathlib.Path(gguf)) if gguf.endswith(".gguf") else bpe_as_gguf(json.loads(file.read_text()), gguf)
    (tmp / "gguf.json").write_text(json.dumps(fields))
    name = f"{pathlib.Path(gguf).stem} against {file.parts[-4] if file.parts[-2] == 'models' else file.parts[-2]}"
    return compare(name, args, HuggingFace(Tokenizer.from_file(str(file))), [("GGUF", str(tmp / "gguf.json"), None)], docs)


def check(path, args, docs, tmp):
    for mark in "=:":
        if mark in path:
            return check_pair(*path.split(mark, 1), args, docs, tmp)
    path = pathlib.Path(path)
    if path.is_dir():
        file, config = path / "tokenizer.json", path / "tokenizer_config.json"
        files = [("json", str(file), str(config) if config.exists() else None)]
        data = json.loads(file.read_text())
        reference = Tokenizer.from_file(str(file))
        if data["model"].get("byte_fallback") and data["pre_tokenizer"] is None and (data.get("normalizer") or {}).get("type") == "Sequence":
            (tmp / "spm.json").write_text(json.dumps(spm_as_gguf(data)))
            files.append(("GGUF scores", str(tmp / "spm.json"), None))
        name = path.parts[-3] if path.name == "models" else path.name
        return compare(name, args, HuggingFace(reference), files, docs)
    if path.suffix == ".gguf":
        fields = gguf_fields(path)
        (tmp / "gguf.json").write_text(json.dumps(fields))
        reference = gguf_reference(fields)
        reference.save(str(tmp / "tokenizer.json"))
        return compare(path.stem, args, HuggingFace(reference), [("GGUF", str(tmp / "gguf.json"), None), ("json", str(tmp / "tokenizer.json"), None)], docs)
    if path.suffix == ".json":
        return compare(path.stem, args, tekken_reference(json.loads(path.read_text())), [("tekken", str(path), None)], docs)
    if path.suffix == ".tiktoken":
        (tmp / "class.json").write_text(json.dumps({"tokenizer_class": "QWenTokenizer"} if path.name.startswith("qwen") else {}))
        return compare(path.name, args, tiktoken_reference(path), [("tiktoken", str(path), str(tmp / "class.json"))], docs)
    return compare(path.name, args, SentencePiece(path), [("SentencePiece", str(path), None)], docs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", required=True)
    parser.add_argument("--mb", type=float, default=20)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--runs", action="store_true")
    parser.add_argument("paths", nargs="+")
    args = parser.parse_args()
    docs = [] if args.runs else documents(args.mb, args.seed)
    if args.runs:
        print("| Tokenizer | Slowest MB/s | 1 MiB against 128 KiB, at most | Not linear |\n|---|---|---|---|")
    else:
        print("| Tokenizer | MB | Tokens | Encode / decode / cut mismatches | Ours MB/s | Theirs MB/s | Ratio | Load s |\n|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as tmp:
        bad = sum(check(path, args, docs, pathlib.Path(tmp)) for path in args.paths)
    sys.exit(bad != 0)


if __name__ == "__main__":
    main()
