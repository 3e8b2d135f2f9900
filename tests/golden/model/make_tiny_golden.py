#!/usr/bin/env python3
"""Makes tiny.json: logits of small synthetic models, of every architecture and RoPE scaling, by transformers in FP64.

    python3 make_tiny_golden.py build/bench/synth_model

needs torch, transformers, gguf. The models are made by synth_model (bench/), whose output depends on its options alone;
when the maker changes, the test says so and this data must be made again.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np
import torch
import transformers

from rope_parameters import rope_parameters

HERE = pathlib.Path(__file__).parent
N_TOKENS = 120
KEPT_POSITIONS = [0, 1, 40, N_TOKENS - 1]
COLUMNS = list(range(3, 512, 8))
ORIGINAL_CONTEXT = 64
FACTOR = 4.0

CASES = [
    {"arch": "llama", "rope_scaling": "none"},
    {"arch": "llama", "rope_scaling": "linear"},
    {"arch": "llama", "rope_scaling": "llama3"},
    {"arch": "llama", "rope_scaling": "yarn"},
    {"arch": "qwen2", "rope_scaling": "none"},
    {"arch": "qwen2", "rope_scaling": "yarn"},
    {"arch": "qwen3", "rope_scaling": "none"},
    {"arch": "qwen3", "rope_scaling": "linear"},
]


def read_model(path, arch, scaling):
    reader = gguf.GGUFReader(path)
    number = {field.name.split(".", 1)[1]: field.contents() for field in reader.fields.values()
              if field.name.startswith(arch + ".")}
    # GGUF's dims run the other way; `data` has the rows first.
    tensors = {t.name: torch.tensor(np.array(gguf.quants.dequantize(t.data, t.tensor_type)), dtype=torch.float64)
               for t in reader.tensors}
    n_heads, n_kv_heads = number["attention.head_count"], number["attention.head_count_kv"]
    kinds = {"llama": ("LlamaConfig", "LlamaForCausalLM"), "qwen2": ("Qwen2Config", "Qwen2ForCausalLM"),
             "qwen3": ("Qwen3Config", "Qwen3ForCausalLM")}[arch]
    config = getattr(transformers, kinds[0])(
        vocab_size=number["vocab_size"], hidden_size=number["embedding_length"],
        intermediate_size=number["feed_forward_length"], num_hidden_layers=number["block_count"],
        num_attention_heads=n_heads, num_key_value_heads=n_kv_heads, head_dim=number["attention.key_length"],
        rms_norm_eps=number["attention.layer_norm_rms_epsilon"], max_position_embeddings=number["context_length"],
        rope_parameters=rope_parameters(scaling, number["rope.freq_base"], FACTOR, ORIGINAL_CONTEXT),
        tie_word_embeddings=True, attention_bias=False)

    def unpermuted(weight, heads):  # GGUF's llama has the pairs that RoPE turns side by side
        if arch != "llama":
            return weight
        rows, cols = weight.shape
        return weight.reshape(heads, rows // heads // 2, 2, cols).swapaxes(1, 2).reshape(rows, cols)

    state = {"model.embed_tokens.weight": tensors["token_embd.weight"], "model.norm.weight": tensors["output_norm.weight"],
             "lm_head.weight": tensors["token_embd.weight"]}
    names = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
             "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
             "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "ffn_gate": "mlp.gate_proj",
             "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    for name, tensor in tensors.items():
        if not name.startswith("blk."):
            continue
        _, layer, part, kind = name.split(".")
        if part in ("attn_q", "attn_k") and kind == "weight":
            tensor = unpermuted(tensor, n_heads if part == "attn_q" else n_kv_heads)
        state[f"model.layers.{layer}.{names[part]}.{kind}"] = tensor
    # FP64 from the start: RoPE's buffers too.
    torch.set_default_dtype(torch.float64)
    model = getattr(transformers, kinds[1])(config).double().eval()
    model.load_state_dict(state, strict=True)
    return model


def main():
    synth_model = sys.argv[1]
    rng = np.random.default_rng(5)
    made = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = str(pathlib.Path(folder) / "model.gguf")
            subprocess.run([synth_model, "--arch", case["arch"], "--rope-scaling", case["rope_scaling"],
                            "--rope-factor", str(FACTOR), "--rope-original-ctx", str(ORIGINAL_CONTEXT), "--seed", "3",
                            path], check=True, stdout=subprocess.DEVNULL)
            # The sum of its 32-bit words tells the test whether it has the same model.
            file_sum = int(np.fromfile(path, "<u4").sum(dtype=np.uint64))
            model = read_model(path, case["arch"], case["rope_scaling"])
        tokens = [int(t) for t in rng.integers(0, 512, N_TOKENS)]
        with torch.no_grad():
            logits = model(torch.tensor([tokens])).logits[0]
        rows = [[round(float(logits[p, c]), 6) for c in COLUMNS] for p in KEPT_POSITIONS]
        made.append({**case, "file_sum": file_sum, "tokens": tokens, "logits": rows})
    head = {"made_by": f"make_tiny_golden.py with transformers {transformers.__version__}, FP64", "seed": 3,
            "rope_factor": FACTOR, "rope_original_context": ORIGINAL_CONTEXT, "positions": KEPT_POSITIONS,
            "columns": COLUMNS}
    lines = ",\n".join(json.dumps(case) for case in made)
    (HERE / "tiny.json").write_text(json.dumps(head)[:-1] + ',\n"cases": [\n' + lines + "\n]}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
