#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""GGUF files to measure with, made from one real model: the same weights in other formats, and random weights of other models' shapes.

    pip install gguf
    python tools/make_bench_models.py SmolLM2-135M-Instruct.Q4_1.gguf FOLDER [NAME...]

Names: smol-q8_0 smol-q4_0 smol-bf16 qwen05-q8_0 qwen05-q4_0 qwen05-bf16 llama1b-q8_0 llama1b-q4_0 llama1b-bf16 (all by default).
The random models are timed, not read: every layer has the same weights, and the vocabulary is the real model's with filler behind it.
Files that are there already are kept. In Q4_0 the embedding is Q8_0, as llama.cpp's own quantisation leaves it.
"""
import pathlib
import sys

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

TYPES = {"q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0, "bf16": gguf.GGMLQuantizationType.BF16}
FILE_TYPES = {"q8_0": gguf.LlamaFileType.MOSTLY_Q8_0, "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0, "bf16": gguf.LlamaFileType.MOSTLY_BF16}
# architecture, layers, width, heads, key/value heads, head width, feed-forward width, vocabulary, context, rope base
SHAPES = {"qwen05": ("qwen2", 24, 896, 14, 2, 64, 4864, 151936, 32768, 1e6),
          "llama1b": ("llama", 16, 2048, 32, 8, 64, 8192, 128256, 32768, 5e5)}


def add_matrix(writer, name, values, kind):
    if kind == "q4_0" and name == "token_embd.weight":
        kind = "q8_0"
    data = quantize(np.ascontiguousarray(values, dtype=np.float32), TYPES[kind])
    writer.add_tensor(name, data, raw_dtype=TYPES[kind])


def copy_tokenizer(reader, writer, vocabulary=None):
    for field in reader.fields.values():
        if not field.name.startswith("tokenizer."):
            continue
        value = field.contents()
        if vocabulary and isinstance(value, list) and field.name in ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type"):
            filler = [f"<|filler_{i}|>" for i in range(vocabulary - len(value))] if isinstance(value[0], str) else [5] * (vocabulary - len(value))
            value = value + filler
        sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, value, field.types[0], sub_type=sub_type)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def same_weights(reader, path, kind):
    writer = gguf.GGUFWriter(path, reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        skip = ("GGUF.", "tokenizer.", "general.architecture", "general.file_type", "general.quantization_version")
        if not field.name.startswith(skip):
            sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub_type)
    writer.add_file_type(FILE_TYPES[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    copy_tokenizer(reader, writer)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        if len(tensor.shape) == 1:
            writer.add_tensor(tensor.name, values.astype(np.float32))
        else:
            add_matrix(writer, tensor.name, values, kind)
    finish(writer)


def random_weights(reader, path, shape, kind):
    arch, layers, width, heads, groups, head, ffn, vocabulary, context, rope_base = SHAPES[shape]
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name(f"{shape} (random weights)")
    writer.add_file_type(FILE_TYPES[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(layers)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(ffn)
    writer.add_head_count(heads)
    writer.add_head_count_kv(groups)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(rope_base)
    writer.add_vocab_size(vocabulary)
    if arch == "llama":
        writer.add_rope_dimension_count(head)
    copy_tokenizer(reader, writer, vocabulary)
    rng = np.random.default_rng(1)

    def matrix(rows, cols):
        return rng.standard_normal((rows, cols), dtype=np.float32) * (1 / np.sqrt(cols))

    add_matrix(writer, "token_embd.weight", matrix(vocabulary, width) * 0.02, kind)
    writer.add_tensor("output_norm.weight", np.ones(width, dtype=np.float32))
    parts = {"attn_q": matrix(heads * head, width), "attn_k": matrix(groups * head, width), "attn_v": matrix(groups * head, width),
             "attn_output": matrix(width, heads * head), "ffn_gate": matrix(ffn, width), "ffn_up": matrix(ffn, width),
             "ffn_down": matrix(width, ffn)}
    packed = {name: quantize(values, TYPES[kind]) for name, values in parts.items()}
    for layer in range(layers):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{norm}.weight", np.ones(width, dtype=np.float32))
        if arch == "qwen2":
            for name in ("attn_q", "attn_k", "attn_v"):
                writer.add_tensor(f"blk.{layer}.{name}.bias", np.zeros(parts[name].shape[0], dtype=np.float32))
        for name, data in packed.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", data, raw_dtype=TYPES[kind])
    finish(writer)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    reader, folder = gguf.GGUFReader(sys.argv[1]), pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    names = sys.argv[3:] or [f"{family}-{kind}" for family in ("smol", *SHAPES) for kind in TYPES]
    for name in names:
        family, kind = name.rsplit("-", 1)
        path = folder / f"{name}.gguf"
        if path.exists():
            continue
        unfinished = path.with_suffix(".part")
        if family == "smol":
            same_weights(reader, unfinished, kind)
        else:
            random_weights(reader, unfinished, family, kind)
        unfinished.rename(path)
        print(f"{path}: {path.stat().st_size / 1e6:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
