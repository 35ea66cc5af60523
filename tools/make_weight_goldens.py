#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/goldens/weights with the reference libraries: small safetensors and GGUF files and, in expected.json, what they hold.

    pip install safetensors==0.8.0 gguf==0.19.0 numpy && python tools/make_weight_goldens.py
"""
import importlib.metadata
import json
import pathlib
import shutil

import gguf
import numpy as np
from safetensors import TensorSpec, serialize_file

out = pathlib.Path(__file__).resolve().parent.parent / "tests" / "goldens" / "weights"
rng = np.random.default_rng(1)
expected = {"made_with": {p: importlib.metadata.version(p) for p in ("safetensors", "gguf")}, "files": {}}


def raw(count):
    return rng.integers(0, 256, count, dtype=np.uint8)


def note(file, name, dtype, shape, data):
    expected["files"].setdefault(file, []).append([name, dtype, [int(n) for n in shape], bytes(data).hex()])


# ---- safetensors -------------------------------------------------------------------------------------------------------------
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1}
SERIALIZER_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
                    "I8": "int8", "U8": "uint8", "BOOL": "bool", "F8_E4M3": "float8_e4m3fn"}


def write_safetensors(file, arrays, metadata=None):
    """arrays: {name: (dtype, shape, numpy array with the bytes)}."""
    (out / file).parent.mkdir(parents=True, exist_ok=True)
    specs = {n: TensorSpec(dtype=d, shape=s, data_ptr=a.ctypes.data, data_len=a.nbytes) for n, (d, s, a) in arrays.items()}
    serialize_file(specs, out / file, metadata)


def safetensors_file(file, tensors, metadata=None):
    """tensors: {name: (dtype, shape)}, filled with random bytes."""
    arrays = {}
    for name, (dtype, shape) in tensors.items():
        count = int(np.prod(shape, dtype=np.int64)) * SIZES[dtype]
        data = raw(count) % 2 if dtype == "BOOL" else raw(count)
        arrays[name] = (SERIALIZER_NAMES[dtype], shape, data)
        note(file, name, dtype, shape, data)
    write_safetensors(file, arrays, metadata)


def make_safetensors():
    kinds = {f"kind.{d}": (d, (3, 2)) for d in SIZES if d != "F8_E4M3"}
    kinds |= {"scalar": ("F32", ()), "empty": ("F16", (0, 7)), "odd \"name\" \u00e9\n": ("U8", (5,)), "high": ("I8", (1, 2, 1, 2, 3, 1))}
    safetensors_file("single.safetensors", kinds, {"note": "tensor \"a\": {["})
    safetensors_file("no_tensors.safetensors", {}, {"format": "pt"})
    safetensors_file("unsupported_dtype.safetensors", {"w": ("F8_E4M3", (4,))})
    shards = {
        "model-00001-of-00002.safetensors": {"model.embed_tokens.weight": ("BF16", (6, 4)), "model.norm.weight": ("F32", (4,))},
        "model-00002-of-00002.safetensors": {"lm_head.weight": ("BF16", (6, 4))},
    }
    for file, tensors in shards.items():
        safetensors_file(f"sharded/{file}", tensors)
    index = {"metadata": {"total_size": 112}, "weight_map": {n: f for f, tensors in shards.items() for n in tensors}}
    (out / "sharded/model.safetensors.index.json").write_text(json.dumps(index, indent=1))
    # The same weights once more under other names, as some exports have; the index does not list it.
    safetensors_file("sharded/consolidated.safetensors", {"output.weight": ("BF16", (6, 4))})


# ---- GGUF --------------------------------------------------------------------------------------------------------------------
T = gguf.GGMLQuantizationType
V = gguf.GGUFValueType
GGUF_TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K", "I8", "I32", "I64", "F64"]


def add_tensor(writer, file, name, dtype, shape):
    """shape: outermost first; random bytes."""
    elems, size = gguf.GGML_QUANT_SIZES[T[dtype]]
    data = raw(int(np.prod(shape, dtype=np.int64)) // elems * size)
    byte_shape = (*shape[:-1], shape[-1] // elems * size)
    writer.add_tensor(name, data.reshape(byte_shape), raw_dtype=T[dtype])
    note(file, name, dtype, shape, data)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_kinds():
    w = gguf.GGUFWriter(out / "kinds.gguf", "kinds")
    w.add_custom_alignment(64)
    w.add_uint8("t.u8", 250), w.add_int8("t.i8", -7), w.add_uint16("t.u16", 65000), w.add_int16("t.i16", -30000)
    w.add_uint32("t.u32", 4000000000), w.add_int32("t.i32", -2000000000), w.add_float32("t.f32", 0.1), w.add_bool("t.bool", True)
    w.add_uint64("t.u64", 2**63 - 1), w.add_uint64("t.u64_large", 2**63), w.add_int64("t.i64", -(2**62)), w.add_float64("t.f64", 0.1)
    w.add_string("t.string", "a\0b \u00e9")
    w.add_key_value("t.bytes", b"\xff\xfe", V.STRING)
    w.add_array("t.strings", ["x", "", "\u00fc"])
    w.add_array("t.floats", [0.5, -2.0])
    w.add_array("t.bools", [True, False])
    w.add_array("t.nested", [[1, 2], [3]])
    for dtype in GGUF_TYPES:
        elems = gguf.GGML_QUANT_SIZES[T[dtype]][0]
        add_tensor(w, "kinds.gguf", f"kind.{dtype}", dtype, (2, elems if elems > 1 else 3) if elems < 256 else (elems,))
    add_tensor(w, "kinds.gguf", "four", "F32", (2, 1, 2, 3))
    finish(w)


def make_split():
    file = "split"
    w = gguf.GGUFWriter(out / "split.gguf", "llama", split_max_tensors=2)
    w.add_name("split")
    for i in range(5):
        add_tensor(w, file, f"t{i}", "F16", (i + 1, 3))
    finish(w)


def permute(w, heads):
    """What the converter does to q and k rows for interleaved rotation."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def make_llama():
    """One tiny layer as GGUF, and q and k as Hugging Face has them in llama_qk.safetensors."""
    hidden, heads, kv_heads, ffn, vocab = 32, 4, 2, 64, 5
    w = gguf.GGUFWriter(out / "llama.gguf", "llama")
    w.add_context_length(128), w.add_embedding_length(hidden), w.add_block_count(1), w.add_feed_forward_length(ffn)
    w.add_head_count(heads), w.add_head_count_kv(kv_heads), w.add_layer_norm_rms_eps(1e-5), w.add_rope_freq_base(500000.0)
    w.add_rope_dimension_count(hidden // heads)
    w.add_tokenizer_model("gpt2"), w.add_token_list(["a", "b", "ab", "<s>", "</s>"]), w.add_token_types([1, 1, 1, 3, 3])
    w.add_token_merges(["a b"]), w.add_bos_token_id(3), w.add_eos_token_id(4), w.add_eot_token_id(3)
    w.add_chat_template([{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}])
    q = rng.standard_normal((hidden, hidden)).astype(np.float16)
    k = rng.standard_normal((hidden // heads * kv_heads, hidden)).astype(np.float16)
    add_tensor(w, "llama.gguf", "token_embd.weight", "Q8_0", (vocab, hidden))
    for name, value in (("blk.0.attn_q.weight", permute(q, heads)), ("blk.0.attn_k.weight", permute(k, kv_heads))):
        w.add_tensor(name, value)
        note("llama.gguf", name, "F16", value.shape, value.tobytes())
    add_tensor(w, "llama.gguf", "rope_freqs.weight", "F32", (4,))
    add_tensor(w, "llama.gguf", "output_norm.weight", "F32", (hidden,))
    finish(w)
    write_safetensors("llama_qk.safetensors", {f"model.layers.0.self_attn.{n}_proj.weight": ("float16", x.shape, x)
                                               for n, x in (("q", q), ("k", k))})


shutil.rmtree(out, ignore_errors=True)
out.mkdir(parents=True)
make_safetensors()
make_kinds()
make_split()
make_llama()
lines = [f" {json.dumps(f)}: [\n  " + ",\n  ".join(json.dumps(t) for t in ts) + "\n ]" for f, ts in expected["files"].items()]
(out / "expected.json").write_text(f'{{"made_with": {json.dumps(expected["made_with"])},\n"files": {{\n' + ",\n".join(lines) + "\n}}\n")
