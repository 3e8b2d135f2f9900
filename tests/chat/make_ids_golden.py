"""Writes tests/chat/golden/smollm2_ids.json: what transformers makes of the generated conversations with SmolLM2's own
tokenizer and chat template, read from the GGUF file.

    python3 tests/chat/make_ids_golden.py models/SmolLM2-135M-Instruct.Q4_1.gguf

Only conversations of plain texts: where a message spells a special token, transformers makes it one and vigil does not.
"""
import json
import sys
from pathlib import Path

from tokenizers import pre_tokenizers
from transformers import AutoTokenizer

from make_family_golden import conversations


def main():
    path = Path(sys.argv[1]).resolve()
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    # transformers does not read tokenizer.ggml.pre; SmolLM2's published tokenizer cuts every digit off by itself.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    special = list(tokenizer.added_tokens_encoder)
    cases = []
    for number, variables in enumerate(conversations()):
        messages = variables["messages"]
        plain = all(isinstance(one["content"], str) and not any(token in one["content"] for token in special)
                    for one in messages)
        if not plain:
            continue
        messages = [{"role": one["role"], "content": one["content"]} for one in messages]
        prompt = variables["add_generation_prompt"]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=prompt, tokenize=True)["input_ids"]
        cases.append({"messages": messages, "add_generation_prompt": prompt, "ids": ids})
        if len(cases) == 60:
            break
    golden = Path(__file__).parent / "golden" / "smollm2_ids.json"
    with open(golden, "w") as out:
        out.write("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases) + "\n]\n")
    print(len(cases), "conversations")


if __name__ == "__main__":
    main()
