#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tiny random-weight models of every family, and what Hugging Face transformers computes with them.

    pip install torch transformers safetensors gguf numpy
    python tools/make_model_goldens.py            # rewrites tests/goldens/models

Each case is a folder with a real model directory (config.json, model.safetensors or shards, tokenizer.json,
tokenizer_config.json) or model.gguf, and golden.json:
  prompts        two lists of 33 token ids
  logits         logits.f32, little-endian float32 [prompts, 33, vocab]: f32 math on the stored weights
  greedy         24 greedily chosen ids per prompt, f32 math
  top2_gap       for each greedy step, the distance between the two best logits
  bf16_error     how far transformers' own logits in bfloat16 are from those, per prompt, as a share of the largest logit
"""
import copy
import json
import pathlib
import shutil

import gguf
import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests/goldens/models"
VOCAB = 320

COMMON = dict(vocab_size=VOCAB, bos_token_id=0, eos_token_id=2, hidden_act="silu", attn_implementation="eager")
LLAMA3_ROPE = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=32, rope_theta=500000.0)
# name -> (class, config arguments, stored dtype, shards)
CASES = {
    "smollm2": ("Llama", dict(hidden_size=48, intermediate_size=88, num_hidden_layers=3, num_attention_heads=3, num_key_value_heads=1,
                              max_position_embeddings=128, tie_word_embeddings=True, rms_norm_eps=1e-5,
                              rope_parameters=dict(rope_type="default", rope_theta=100000.0)), torch.float32, 1),
    "llama31": ("Llama", dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
                              max_position_embeddings=256, tie_word_embeddings=False, rope_parameters=LLAMA3_ROPE), torch.bfloat16, 3),
    "llama_bias": ("Llama", dict(hidden_size=60, intermediate_size=100, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=3, head_dim=20,
                                 max_position_embeddings=128, tie_word_embeddings=False, attention_bias=True, mlp_bias=True,
                                 rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=10000.0)), torch.float32, 1),
    "mistral_window": ("Mistral", dict(hidden_size=64, intermediate_size=90, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=1, head_dim=24,
                                       max_position_embeddings=128, sliding_window=8, tie_word_embeddings=False,
                                       rope_parameters=dict(rope_type="default", rope_theta=10000.0)), torch.float32, 1),
    "mistral": ("Mistral", dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=20,
                                max_position_embeddings=128, sliding_window=None, tie_word_embeddings=False,
                                rope_parameters=dict(rope_type="default", rope_theta=10000.0)), torch.bfloat16, 1),
    "qwen2": ("Qwen2", dict(hidden_size=56, intermediate_size=76, num_hidden_layers=3, num_attention_heads=7, num_key_value_heads=1,
                            max_position_embeddings=128, tie_word_embeddings=True, use_sliding_window=False,
                            rope_parameters=dict(rope_type="default", rope_theta=1000000.0)), torch.bfloat16, 1),
    "qwen2_yarn": ("Qwen2", dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                                 max_position_embeddings=128, tie_word_embeddings=False, use_sliding_window=False,
                                 rope_parameters=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32, rope_theta=10000.0)),
                   torch.float32, 1),
    "qwen3": ("Qwen3", dict(hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2, head_dim=20,
                            max_position_embeddings=128, tie_word_embeddings=False, rope_parameters=dict(rope_type="default", rope_theta=1000000.0)),
              torch.float32, 1),
}
# GGUF files: all block formats need widths that are multiples of 256. name -> (class, architecture, config, tensor types in turn)
Q = gguf.GGMLQuantizationType
GGUF_CASES = {
    "gguf_llama_legacy": ("Llama", "llama", dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                                                 max_position_embeddings=128, tie_word_embeddings=True, rms_norm_eps=1e-5,
                                                 rope_parameters=dict(rope_type="default", rope_theta=10000.0)),
                          [Q.Q8_0, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.F16, Q.BF16, Q.F32]),
    "gguf_qwen3_k": ("Qwen3", "qwen3", dict(hidden_size=256, intermediate_size=256, num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=4,
                                            head_dim=32, max_position_embeddings=128, tie_word_embeddings=True,
                                            rope_parameters=dict(rope_type="default", rope_theta=1000000.0)),
                     [Q.Q4_K, Q.Q5_K, Q.Q6_K, Q.Q8_0]),
}


def make_model(kind, arguments, seed):
    torch.manual_seed(seed)
    config = getattr(transformers, kind + "Config")(**COMMON, **arguments)
    model = getattr(transformers, kind + "ForCausalLM")(config).eval()
    with torch.no_grad():  # far from uniform logits, every weight and bias matters
        for name, p in model.named_parameters():
            if p.dim() == 1 and "norm" in name:
                p.copy_(1 + 0.3 * torch.randn_like(p))
            elif p.dim() == 1:
                p.copy_(0.3 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * (1.0 if "embed" in name else 1.6 / p.shape[1] ** 0.5))
    return model


def write_golden(folder, model, seed):
    rng = np.random.default_rng(seed)
    prompts = rng.integers(3, VOCAB, size=(2, 33))
    model = model.float()
    model.generation_config.eos_token_id = None
    with torch.no_grad():
        logits = model(torch.tensor(prompts)).logits.numpy().astype("<f4")
        greedy, gaps = [], []
        for prompt in prompts:
            ids, chosen, gap = list(prompt), [], []
            for _ in range(24):
                last = model(torch.tensor([ids])).logits[0, -1]
                top = torch.topk(last, 2)
                chosen.append(int(top.indices[0]))
                gap.append(round(float(top.values[0] - top.values[1]), 5))
                ids.append(chosen[-1])
            greedy.append(chosen)
            gaps.append(gap)
        rounded = copy.deepcopy(model).bfloat16()(torch.tensor(prompts)).logits.float().numpy()
    error = np.abs(rounded - logits).max((1, 2)) / np.abs(logits).max((1, 2))
    logits.tofile(folder / "logits.f32")
    golden = dict(prompts=prompts.tolist(), vocab=VOCAB, greedy=greedy, top2_gap=gaps, bf16_error=[round(float(e), 5) for e in error])
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")


def byte_level_tokenizer():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {"<|bos|>": 0, "<|unk|>": 1, "<|eos|>": 2}
    for c in alphabet:
        vocab[c] = len(vocab)
    merges = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("i", "n"), ("e", "r"), ("a", "n")]
    for a, b in merges:
        vocab[a + b] = len(vocab)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|bos|>", "<|unk|>", "<|eos|>"])
    return tokenizer, list(vocab), [f"{a} {b}" for a, b in merges]


def write_tokenizer(folder):
    tokenizer, _, _ = byte_level_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = dict(bos_token="<|bos|>", eos_token="<|eos|>", unk_token="<|unk|>", model_max_length=128, tokenizer_class="PreTrainedTokenizerFast",
                  chat_template="{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
                                "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")


def write_directory(folder, model, dtype, shards):
    model.config.dtype = dtype
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    tensors = {n: p.to(dtype).contiguous() for n, p in model.named_parameters() if not (model.config.tie_word_embeddings and n == "lm_head.weight")}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        index, names = {}, sorted(tensors)
        for i in range(shards):
            file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
            part = {n: tensors[n] for n in names[i::shards]}
            save_file(part, folder / file, metadata={"format": "pt"})
            index.update({n: file for n in part})
        size = sum(t.numel() * t.element_size() for t in tensors.values())
        (folder / "model.safetensors.index.json").write_text(json.dumps(dict(metadata=dict(total_size=size), weight_map=index), indent=1) + "\n")
    (folder / "generation_config.json").write_text(json.dumps(dict(bos_token_id=0, eos_token_id=2, temperature=0.7, top_p=0.9)) + "\n")
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.to(dtype).float())


GGUF_NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
GGUF_PARTS = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
              "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
              "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}


def gguf_name(name):
    if name in GGUF_NAMES:
        return GGUF_NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    part, suffix = rest.rsplit(".", 1)
    return f"blk.{layer}.{GGUF_PARTS[part]}.{suffix}"


def permute(w, heads):
    """Rows of rotary heads from half-split to interleaved order, as llama-architecture files store them."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def unpermute(w, heads):
    return w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def random_k_blocks(rng, rows, cols, kind):
    """Valid random K-quant blocks; the library has no quantiser for them. Scales are chosen so that weights are about 1/sqrt(cols)."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, size=(rows, cols // block, size), dtype=np.uint8)
    half = lambda x: np.frombuffer(np.float16(x).tobytes(), dtype=np.uint8)
    sigma = 1.6 / cols ** 0.5
    for r in range(rows):
        for b in range(cols // block):
            s = sigma * rng.uniform(0.7, 1.3)
            if kind == Q.Q6_K:
                raw[r, b, 208:210] = half(s / (64 * 18))
            else:
                top = 15 if kind == Q.Q4_K else 31
                raw[r, b, 0:2] = half(s / (32 * top / 3))
                raw[r, b, 2:4] = half(s / 32 * 1.3)
    return raw.reshape(rows, -1)


def write_gguf(folder, model, arch, types, seed):
    c = model.config
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(folder / "model.gguf", arch)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_block_count(c.num_hidden_layers)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    writer.add_rope_freq_base(c.rope_parameters["rope_theta"])
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_vocab_size(VOCAB)
    _, tokens, merges = byte_level_tokenizer()
    types_of = [3, 3, 3] + [1] * (len(tokens) - 3)
    while len(tokens) < VOCAB:
        tokens.append(f"<|unused{len(tokens)}|>")
        types_of.append(5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(types_of)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(1)
    writer.add_add_bos_token(False)
    turn = 0
    with torch.no_grad():
        for name, p in model.named_parameters():
            w = p.float().numpy()
            heads = {"q_proj": c.num_attention_heads, "k_proj": c.num_key_value_heads}.get(name.split(".")[-2], 0) if arch == "llama" else 0
            stored = permute(w, heads) if heads else w
            if w.ndim == 1:
                writer.add_tensor(gguf_name(name), stored.astype(np.float32))
                continue
            kind = types[turn % len(types)]
            turn += 1
            if kind in (Q.Q4_K, Q.Q5_K, Q.Q6_K):
                raw = random_k_blocks(rng, *stored.shape, kind)
            else:
                raw = gguf.quants.quantize(np.ascontiguousarray(stored), kind)
            writer.add_tensor(gguf_name(name), raw, raw_dtype=kind)
            back = gguf.quants.dequantize(raw, kind).astype(np.float32).reshape(stored.shape)
            p.copy_(torch.tensor(unpermute(back, heads) if heads else back))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    for seed, (name, (kind, arguments, dtype, shards)) in enumerate(CASES.items()):
        folder = ROOT / name
        folder.mkdir(parents=True)
        model = make_model(kind, arguments, seed)
        write_directory(folder, model, dtype, shards)
        write_tokenizer(folder)
        write_golden(folder, model, seed)
    for seed, (name, (kind, arch, arguments, types)) in enumerate(GGUF_CASES.items(), 100):
        folder = ROOT / name
        folder.mkdir(parents=True)
        model = make_model(kind, arguments, seed)
        write_gguf(folder, model, arch, types, seed)
        write_golden(folder, model, seed)


if __name__ == "__main__":
    main()
