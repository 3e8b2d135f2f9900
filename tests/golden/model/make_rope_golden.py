"""Makes rope.json: RoPE frequencies of each scaling kind as transformers computes them.

    python3 make_rope_golden.py        needs torch and transformers
"""
import json
from pathlib import Path

import transformers
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from rope_parameters import rope_parameters

CASES = [
    dict(name="none", head_dim=64, context=8192, rope=rope_parameters("none", 100000.0)),
    dict(name="linear", head_dim=80, context=4096, rope=rope_parameters("linear", 10000.0, 4.0)),
    dict(name="yarn", head_dim=128, context=131072, rope=rope_parameters("yarn", 1000000.0, 4.0, 32768)),
    dict(
        name="yarn with other betas",
        head_dim=96,
        context=32768,
        rope=rope_parameters("yarn", 10000.0, 16.0, 2048, beta_fast=16.0, beta_slow=2.0),
    ),
    dict(name="llama3", head_dim=64, context=131072, rope=rope_parameters("llama3", 500000.0, 32.0, 8192)),
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
    path = Path(__file__).parent / "rope.json"
    document = {
        "made_by": f"make_rope_golden.py with transformers {transformers.__version__}",
        "cases": [golden(case) for case in CASES],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
