#!/usr/bin/env python3
"""Captures tests/goldens/blocks/blocks.bin: random GGUF blocks and what the Python package `gguf` makes of them.

Needs: pip install gguf numpy.   Run: python tools/make_block_goldens.py
File: per format  16 bytes name (zero padded), u32 raw bytes, u32 floats, raw, floats (little-endian f32).
SPDX-License-Identifier: Apache-2.0
"""
import pathlib
import struct

import gguf
import numpy as np

# name -> (blocks, byte offsets of the fp16 values within a block)
FORMATS = {
    "F32": (64, []), "F16": (64, [0]), "BF16": (64, []), "Q8_0": (6, [0]), "Q4_0": (6, [0]), "Q4_1": (6, [0, 2]),
    "Q5_0": (6, [0]), "Q5_1": (6, [0, 2]), "Q4_K": (2, [0, 2]), "Q5_K": (2, [0, 2]), "Q6_K": (2, [208]),
}


def main():
    rng = np.random.default_rng(20261122)
    out = bytearray()
    for name, (blocks, halves) in FORMATS.items():
        kind = gguf.GGMLQuantizationType[name]
        _, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        raw = rng.integers(0, 256, (blocks, block_bytes), dtype=np.uint8)
        if name == "F32":
            raw = rng.standard_normal(blocks, dtype=np.float32).view(np.uint8).reshape(blocks, 4)
        if name == "BF16":
            raw[:, 1] &= 0xBF  # finite, not huge
        for at in halves:  # finite halves, subnormals among them
            value = rng.integers(0, 0x7C00, blocks, dtype=np.uint16) | (rng.integers(0, 2, blocks, dtype=np.uint16) << 15)
            raw[:, at : at + 2] = value.astype(np.uint16).view(np.uint8).reshape(blocks, 2)
        flat = raw.reshape(1, -1)
        values = gguf.quants.dequantize(flat.view({"F32": np.float32, "F16": np.float16}.get(name, np.uint8)), kind)
        values = np.asarray(values, dtype=np.float32).reshape(-1)
        assert np.isfinite(values).all(), name
        out += struct.pack("<16sII", name.encode(), flat.nbytes, values.size) + flat.tobytes() + values.tobytes()
    path = pathlib.Path(__file__).resolve().parent.parent / "tests/goldens/blocks/blocks.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out)
    print(f"gguf {getattr(gguf, '__version__', '?')}: {len(out)} bytes")


if __name__ == "__main__":
    main()
