#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains toy tokenizers with the exact pipelines of the big families and records what Hugging Face `tokenizers` makes of tricky strings.

  python tools/make_tokenizer_goldens.py [--only NAME...]        (into tests/goldens/tokenizer)

Writes <name>.json (a tokenizer.json) and <name>.golden.json: {"library", "encode": [...], "decode": [...]}.
encode: t (text) or x (hex of bytes that are not UTF-8; the library saw them with U+FFFD), e (ids), s (ids with special tokens), d and k
(decode(s) with special tokens kept and skipped). decode: ids, d, k for random ids.
"""
import json
import pathlib
import random
import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from tokenizer_corpus import SNIPPETS, SPACES, documents  # noqa: E402

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
O200K_PREFIX = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (O200K_PREFIX + r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
VOCAB = 1000


def corpus():
    prose = ("The quick brown fox jumps over the lazy dog. I'm sure that we'll see what it's about; don't worry, they've said.\n"
             "def encode(self, text: str) -> list[int]:\n    return [self.vocab[t] for t in self.tokens(text)]\n\n"
             "Привет, мир! 你好，世界。こんにちは世界 안녕하세요 مرحبا بالعالم नमस्ते दुनिया café naïve Ünïcödé 😀😃👍🏽\n") * 3
    names = [unicodedata.name(chr(c), "").capitalize() for c in range(0x21, 0x2000)]
    return [prose] + names + [d.decode(errors="replace") for d in documents(0.1, seed=1)[:20]]


def train_byte_level(tokenizer, special):
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def smollm():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    return train_byte_level(t, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])


def llama3():
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    train_byte_level(t, [])
    t.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>"])
    bos = t.token_to_id("<|begin_of_text|>")
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1", special_tokens=[("<|begin_of_text|>", bos)])])
    return t


def qwen():
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3.replace("{1,3}", "")), "isolated"),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])
    t.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    t.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    train_byte_level(t, [])
    t.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    t.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    return t


def o200k():
    """Split with Removed and invert, a pattern without a fast path; added tokens with every flag; ByteLevel with a prefix space."""
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"[\u2018\u2019]"), "'")])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(O200K), "removed", invert=True),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    train_byte_level(t, ["<|endoftext|>"])
    t.add_tokens([AddedToken("<left>", lstrip=True), AddedToken("<right>", rstrip=True), AddedToken("<both>", lstrip=True, rstrip=True),
                  AddedToken("word", single_word=True), AddedToken("\u00e9t\u00e9", normalized=True), AddedToken("<le", normalized=False)])
    return t


def sentencepiece_vocab(special):
    """A BPE model with byte fallback whose merges were learnt on text with U+2581 for spaces."""
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Replace(" ", "\u2581")
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=special + [f"<0x{b:02X}>" for b in range(256)], show_progress=False,
                                  limit_alphabet=150)
    t.train_from_iterator(corpus(), trainer)
    data = json.loads(t.to_str())
    data["added_tokens"] = [a for a in data["added_tokens"] if a["content"] in special]
    return data


def llama2():
    data = sentencepiece_vocab(["<unk>", "<s>", "</s>"])
    t = Tokenizer.from_str(json.dumps(data | {"pre_tokenizer": None}))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", t.token_to_id("<s>"))])
    return t


def metaspace():
    """Mistral-like: Metaspace in front of the first word only; no byte tokens for some bytes, so unknown tokens appear."""
    data = sentencepiece_vocab(["<unk>", "<s>", "</s>", "[INST]"])
    keep = {k: v for k, v in data["model"]["vocab"].items() if k not in ("<0xF0>", "<0xE4>")}
    ids = {k: i for i, (k, _) in enumerate(sorted(keep.items(), key=lambda kv: kv[1]))}
    data["model"]["vocab"] = ids
    for a in data["added_tokens"]:
        a["id"] = ids[a["content"]]
    t = Tokenizer.from_str(json.dumps(data | {"pre_tokenizer": None, "normalizer": None}))
    t.normalizer = normalizers.Sequence([normalizers.Strip(left=False, right=True), normalizers.Lowercase(), normalizers.NFD()])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split("--", "merged_with_previous"),
                                               pre_tokenizers.Punctuation("contiguous"),
                                               pre_tokenizers.Metaspace(prepend_scheme="first", split=True)])
    t.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
    t.post_processor = processors.RobertaProcessing(("</s>", t.token_to_id("</s>")), ("<s>", t.token_to_id("<s>")))
    return t


def bert():
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    t.train_from_iterator(corpus(), trainers.WordPieceTrainer(vocab_size=400, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False,
                                                              limit_alphabet=120))
    t.add_special_tokens([AddedToken("[MASK]", lstrip=True)])
    t.decoder = decoders.WordPiece()
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    t.enable_truncation(12)
    return t


def charsmap():
    """A small precompiled charsmap, as SentencePiece makes it."""
    return next(f for n, f in proto_fields(next(f for n, f in proto_fields(sentencepiece_model("unigram")) if n == 3)) if n == 2)


def t5():
    """Unigram behind a charsmap; byte fallback with a byte missing."""
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Precompiled(charsmap())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    t.train_from_iterator(corpus(), trainers.UnigramTrainer(vocab_size=300, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False))
    data = json.loads(t.to_str())
    data["model"]["byte_fallback"] = True
    data["model"]["vocab"] += [[f"<0x{b:02X}>", -20.0] for b in range(256) if b != 0xF0]
    t = Tokenizer.from_str(json.dumps(data))
    t.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    t.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return t


def clip():
    """BPE with a suffix at the ends of words and a prefix inside them, over the stand-ins of bytes."""
    t = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>", continuing_subword_prefix="~"))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"'s|'t|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=700, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                                        end_of_word_suffix="</w>", continuing_subword_prefix="~", show_progress=False))
    t.decoder = decoders.BPEDecoder()
    return t


def wordlevel():
    """Steps that nothing else has: scripts, fixed lengths, ByteLevel that is not last."""
    t = Tokenizer(models.WordLevel(unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.StripAccents(), normalizers.Strip()])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.UnicodeScripts(), pre_tokenizers.CharDelimiterSplit("-"), pre_tokenizers.Whitespace(),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False), pre_tokenizers.Digits(False), pre_tokenizers.FixedLength(4)])
    t.train_from_iterator(corpus(), trainers.WordLevelTrainer(vocab_size=400, special_tokens=["<unk>", "<pad>", "|"], show_progress=False))
    t.decoder = decoders.CTC("<pad>", "|", True)
    return t


def proto_fields(data):
    """(number, bytes) of the length-delimited fields of a message."""
    at = 0

    def varint():
        nonlocal at
        out = shift = 0
        while True:
            byte = data[at]
            at += 1
            out |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return out

    while at < len(data):
        key = varint()
        if key & 7 == 2:
            size = varint()
            yield key >> 3, data[at:at + size]
            at += size
        elif key & 7 == 0:
            varint()
        else:
            at += 8 if key & 7 == 1 else 4


def sentencepiece_model(kind):
    import io
    import sentencepiece
    import tempfile
    rules = {"\uff21": "A", "\uff22": "B", "\u2460": "1", "\ufb01": "fi", "\u00e9": "e", "e\u0301": "e", "\t": " ", "\n": " ", "\u3000": " ", "\u00ad": "", "\u3042\u3042": "\u3044"}
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as tsv:
        tsv.write("".join(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n" for a, b in rules.items()))
        tsv.flush()
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(line for text in corpus() for line in text.splitlines()[:20]), model_writer=model, vocab_size=500 if kind == "unigram" else 600, model_type=kind,
            normalization_rule_tsv=tsv.name, byte_fallback=kind == "bpe", user_defined_symbols=["<sep>", "\u2581\u2581"], control_symbols=["[INST]"],
            remove_extra_whitespaces=kind == "unigram", split_digits=True, character_coverage=0.98, hard_vocab_limit=False, minloglevel=2, num_threads=1)
    return model.getvalue()


def write_sentencepiece(out, kind):
    import sentencepiece
    data = sentencepiece_model(kind)
    (out / f"spm_{kind}.model").write_bytes(data)
    processor = sentencepiece.SentencePieceProcessor(model_proto=data)
    texts = [t for t in tricky_strings()[0] if "\0" not in t and not any(c in t for c in ("<s>", "</s>", "<unk>", "[INST]"))][:120]
    texts += ["\uff21\uff22\u2460 \ufb01x", "a<sep>b", "a <sep> b", "\u3042\u3042\u3042", "cafe\u0301 caf\u00e9", "  two  spaces  ", "x\u2581\u2581y"]
    rows = ",\n".join(json.dumps({"t": t, "e": processor.encode(t)}, separators=(",", ":")) for t in texts)
    (out / f"spm_{kind}.golden.json").write_text(f'{{"library": "sentencepiece {sentencepiece.__version__}",\n"encode": [\n{rows}\n]}}\n')


def tricky_strings():
    rng = random.Random(3)
    out = ["", " ", "  ", "\n", " \n", "\n ", "a", " a", "a ", "  a  b   c    ", "Hello, world!", "don't I'M we'LL it'\u017f they'Ve", "1234567890 12 3",
           "\u0661\u0662\u0663 \u00bd\u2460", "\r\n\r\n  x", "x\r\n  \r\ny", "\t\tif (a==b) {\n\t\t\treturn;\n\t\t}", "   \u3000\u00a0 end", "caf\u00e9 cafe\u0301",
           "\u1e9b\u0323 \u212b \ufb01", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u0928\u092e\u0938\u094d\u0924\u0947", "\u4f60\u597d\uff0c\u4e16\u754c", "\uc548\ub155",
           "\U0001F469\u200d\U0001F469\u200d\U0001F467\U0001F44D\U0001F3FD", "<|im_start|>user\nhi<|im_end|>", "<|im_start|><|im_start|>", "<|im_start", "<s>a</s>", "<s> a </s> b",
           "a <unk> b", "<think>\n</think>", "x<left>y", "x <left> y", "x <right>  y", "x <both> y <both>", "a word words sword word", "word", "<lef", "<le <left>",
           "\u00e9t\u00e9 e\u0301te\u0301", "\u2018quoted\u2019", "<0x41>", "<0xE4>", "\u2581", "\u2581\u2581 \u2581", "a--b -- c----d", "[INST] x [/INST]", "A B C", "HELLO \u0130",
           "\x00\x01\x7f", "\ufeffbom", "\u180e\u200b\u2060", "a" * 100, " " * 70, "\n" * 30, "ab" * 60, "!" * 60, "\u0301" * 20, "\U0001F600" * 12, "\U00016D40\U00010D45\U0002EBF0",
           "\U0010FFFF\uE000\uFFFE"]
    while len(out) < 260:
        text = ""
        for _ in range(rng.randint(1, 9)):
            kind = rng.random()
            if kind < 0.35:
                text += rng.choice(SNIPPETS)
            elif kind < 0.65:
                text += rng.choice(SPACES)
            elif kind < 0.85:
                text += "".join(rng.choice("abcdetTS0123'\u00e9\u4f60!.-") for _ in range(rng.randint(1, 6)))
            else:
                text += chr(rng.choice([rng.randint(0xA0, 0x2FFF), rng.randint(0x3000, 0xD7FF), rng.randint(0x10000, 0x1FFFF)]))
        out.append(text)
    bad = [b"\xff", b"\xc3(", b"a\xe4\xbd", b"\xed\xa0\x80x", b"\xf0\x9f\x98 \xf0\x9f\x98\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe0\x9f\xbf", b"ok \x80\x80\x80 ok"]
    while len(bad) < 40:
        data = bytearray(rng.choice(out).encode())
        for _ in range(3):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        bad.append(bytes(data))
    return out, bad


def record(tokenizer):
    texts, bad = tricky_strings()
    rng = random.Random(5)
    encode, decode = [], []
    for item in texts + bad:
        text = item if isinstance(item, str) else item.decode(errors="replace")
        with_special = tokenizer.encode(text).ids
        encode.append({**({"t": item} if isinstance(item, str) else {"x": item.hex()}), "e": tokenizer.encode(text, add_special_tokens=False).ids,
                       "s": with_special, "d": tokenizer.decode(with_special, skip_special_tokens=False), "k": tokenizer.decode(with_special)})
    size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    for _ in range(60):
        low = rng.choice([size, size, 300])  # byte tokens have low ids
        ids = [rng.randrange(low) for _ in range(rng.randint(1, 12))]
        decode.append({"ids": ids, "d": tokenizer.decode(ids, skip_special_tokens=False), "k": tokenizer.decode(ids)})
    return {"library": "tokenizers " + tokenizers.__version__, "encode": encode, "decode": decode}


def write(out, make, most):
    tokenizer = make()
    (out / f"{make.__name__}.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n")
    tokenizer.no_truncation()  # as transformers has it unless asked
    golden = record(tokenizer)
    lines = lambda rows: "[\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows) + "\n]"  # noqa: E731
    (out / f"{make.__name__}.golden.json").write_text(
        f'{{"library": "{golden["library"]}",\n"encode": {lines(golden["encode"][:most])},\n"decode": {lines(golden["decode"])}}}\n')


def main():
    out = pathlib.Path(__file__).parent.parent / "tests/goldens/tokenizer"
    only = sys.argv[2:] if sys.argv[1:2] == ["--only"] else None
    for make in (smollm, llama3, qwen, o200k, llama2, metaspace, bert, t5, clip, wordlevel):
        if only is None or make.__name__ in only:
            write(out, make, 300 if make in (smollm, llama3, qwen, o200k, llama2, metaspace) else 120)
    for kind in ("unigram", "bpe"):
        if only is None or f"spm_{kind}" in only:
            write_sentencepiece(out, kind)


if __name__ == "__main__":
    main()
