"""Writes golden/rope.json: RoPE frequencies of each scaling kind as transformers computes them.

    python3 tests/host/make_rope_golden.py        needs torch and transformers
"""
import json
from pathlib import Path

import transformers
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

CASES = [
    dict(name="none", head_dim=64, context=8192, rope=dict(rope_type="default", rope_theta=100000.0)),
    dict(name="linear", head_dim=80, context=4096, rope=dict(rope_type="linear", rope_theta=10000.0, factor=4.0)),
    dict(
        name="yarn",
        head_dim=128,
        context=131072,
        rope=dict(rope_type="yarn", rope_theta=1000000.0, factor=4.0, original_max_position_embeddings=32768),
    ),
    dict(
        name="yarn with other betas",
        head_dim=96,
        context=32768,
        rope=dict(
            rope_type="yarn",
            rope_theta=10000.0,
            factor=16.0,
            original_max_position_embeddings=2048,
            beta_fast=16.0,
            beta_slow=2.0,
        ),
    ),
    dict(
        name="llama3",
        head_dim=64,
        context=131072,
        rope=dict(
            rope_type="llama3",
            rope_theta=500000.0,
            factor=32.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=8192,
        ),
    ),
]


def rotary(case):
    config = LlamaConfig(
        hidden_size=case["head_dim"] * 4,
        num_attention_heads=4,
        head_dim=case["head_dim"],
        max_position_embeddings=case["context"],
        rope_parameters=dict(case["rope"]),
    )
    return LlamaRotaryEmbedding(config)


def golden(case):
    module = rotary(case)
    result = {**case, "frequencies": module.inv_freq.tolist(), "magnitude": float(module.attention_scaling)}
    if case["rope"]["rope_type"] == "llama3":
        # GGUF stores this kind as one divisor per pair, in rope_freqs.weight.
        plain = rotary({**case, "rope": dict(rope_type="default", rope_theta=case["rope"]["rope_theta"])})
        result["freq_factors"] = (plain.inv_freq.double() / module.inv_freq.double()).tolist()
    return result


def main():
    path = Path(__file__).parent / "golden" / "rope.json"
    document = {
        "made_by": f"make_rope_golden.py with transformers {transformers.__version__}",
        "cases": [golden(case) for case in CASES],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
