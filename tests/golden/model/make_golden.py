#!/usr/bin/env python3
"""Makes the golden data of SmolLM2-135M-Instruct (Q4_1) with an independent implementation.

    python3 make_golden.py MODEL.gguf [--all-candidates]

needs torch, transformers, accelerate, gguf. Writes beside itself
  golden.json  token ids, greedy continuations, likelihoods, and how all of it was made
  logits.bin   float32, little endian: [128][4] mean, standard deviation, logsumexp, largest of each position's logits,
               then [128][256] the logits of the columns named in golden.json

The reference is transformers' Llama in FP32 on the dequantised weights. (llama.cpp would not do: on a CPU it quantises
activations to 8 bit.)
"""
import argparse
import json
import math
import pathlib

import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).parent
N_GREEDY = 64
N_LOGITS = 128
N_COLUMNS = 256

# Of each kind, the prompt whose smallest margin between first and second choice is widest is kept: a continuation that hangs
# on a near-tie says nothing about correctness. One of each kind, for variety.
CANDIDATES = {
    "count": ["1, 2, 3, 4, 5, 6, 7, 8,", "20, 19, 18, 17, 16, 15,"],
    "table": ["| n | n squared |\n|---|---|\n| 1 | 1 |\n| 2 | 4 |\n| 3 | 9 |\n", "Mon Tue Wed Thu Fri Sat Sun Mon Tue Wed"],
    "code": ["for (int i = 0; i < n; i++) {\n    sum +=", "<html>\n<head>\n<title>Hello</title>\n</head>\n<body>\n"],
    "chat": ["<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n",
             "<|im_start|>user\nCount from 1 to 30.<|im_end|>\n<|im_start|>assistant\n"],
    "prose": ["Twinkle, twinkle, little star, how I wonder", "Four score and seven years ago our fathers brought forth"],
}


@torch.no_grad()
def greedy(model, prompt):
    """The continuation and, for each of its tokens, by how much its logit beats the next."""
    tokens, margins = [], []
    step = torch.tensor([prompt])
    cache = None
    while len(tokens) < N_GREEDY:
        out = model(step, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        best = torch.topk(out.logits[0, -1].double(), 2)
        margins.append(float(best.values[0] - best.values[1]))
        tokens.append(int(best.indices[0]))
        step = torch.tensor([[tokens[-1]]])
    return tokens, margins


@torch.no_grad()
def all_logits(model, tokens):
    return model(torch.tensor([tokens])).logits[0].double()


def mean_nll(logits, tokens):
    """Mean negative log-likelihood of every token but the first, given those before it."""
    picked = torch.log_softmax(logits[:-1], dim=-1)[torch.arange(len(tokens) - 1), torch.tensor(tokens[1:])]
    return -float(picked.mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--all-candidates", action="store_true", help="print the margins of every candidate")
    args = parser.parse_args()
    torch.manual_seed(0)
    where = {"pretrained_model_name_or_path": args.model.parent, "gguf_file": args.model.name}
    model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(**where)

    prompts = []
    for texts in CANDIDATES.values():
        tried = []
        for text in texts:
            prompt = tokenizer(text, add_special_tokens=False).input_ids
            tokens, margins = greedy(model, prompt)
            if args.all_candidates:
                print(f"{min(margins):8.4f}  {text!r} -> {tokenizer.decode(tokens)!r}")
            tried.append({"text": text, "prompt": prompt, "continuation": tokens, "decoded": tokenizer.decode(tokens),
                          "smallest_margin": min(margins)})
        prompts.append(max(tried, key=lambda entry: entry["smallest_margin"]))

    text = (HERE / "text.txt").read_text(encoding="utf-8")
    tokens = tokenizer(text, add_special_tokens=False).input_ids
    columns = sorted(int(c) for c in np.random.default_rng(20260121).choice(model.config.vocab_size, N_COLUMNS, False))
    logits = all_logits(model, tokens)
    short = logits[:N_LOGITS]
    statistics = torch.stack([short.mean(-1), short.std(-1, correction=0), short.logsumexp(-1), short.amax(-1)], dim=-1)
    with open(HERE / "logits.bin", "wb") as out:
        out.write(statistics.numpy().astype("<f4").tobytes())
        out.write(short[:, columns].numpy().astype("<f4").tobytes())

    golden = {
        "made_by": f"make_golden.py with transformers {transformers.__version__}, torch {torch.__version__}, FP32",
        "model": args.model.name,
        "greedy": prompts,
        "text": {"file": "text.txt", "tokens": tokens, "nll": mean_nll(logits, tokens)},
        "logits": {"positions": N_LOGITS, "columns": columns, "argmax": short.argmax(-1).tolist(),
                   "nll": mean_nll(short, tokens[:N_LOGITS])},
    }
    lines = json.dumps(golden, indent=1, ensure_ascii=False)
    # Lists of numbers on one line each.
    compact, depth = [], 0
    for line in lines.split("\n"):
        inside = depth > 0
        depth += line.rstrip().endswith("[") and not line.rstrip().endswith('"greedy": [')
        closing = inside and line.strip() in ("]", "],")
        depth -= closing
        if inside:
            compact[-1] = compact[-1].rstrip() + line.strip() if closing else compact[-1] + line.strip() + " "
        else:
            compact.append(line)
    (HERE / "golden.json").write_text("\n".join(compact) + "\n", encoding="utf-8")
    for entry in prompts:
        print(f"{entry['smallest_margin']:8.4f}  {entry['text']!r} -> {entry['decoded']!r}")
    print(f"nll: 128 tokens {golden['logits']['nll']:.6f}, {len(tokens)} tokens {golden['text']['nll']:.6f}; "
          f"perplexity {math.exp(golden['text']['nll']):.3f}")


if __name__ == "__main__":
    main()
