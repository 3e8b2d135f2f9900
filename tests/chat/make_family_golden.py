"""Writes tests/chat/golden/conversations.json and families.txt: 200 generated conversations, and what Python's jinja2
makes of each of them under every template of tests/chat/templates.

    python3 tests/chat/make_family_golden.py                  writes both files
    python3 tests/chat/make_family_golden.py TEMPLATE NUMBER  prints one expected text

families.txt has one line per template and conversation: template, conversation, length in bytes and FNV-1a hash of the
expected text; length -1 means that rendering fails.
"""
import json
import random
import sys
from pathlib import Path

from reference import render

HERE = Path(__file__).parent
COUNT = 200

WORDS = """the a model kernel token answers quickly why how 2+2 list sort print("hi") café naïve 東京 данные 🙂 👩‍💻 ß
    don't "quoted" back\\slash a|b <b>bold</b> {{braces}} {%tag%} {#note#} 3.14 -7 1e9 tab\there""".split()
MARKERS = ["<|im_end|>", "<|im_start|>system", "[INST]", "</s>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<think>",
           "</think>", "<<SYS>>", "<tool_call>"]
SPACES = ["", "", "", " ", "\n", "  \n\n", "\t", "\u00a0", "\u3000"]

TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "Current weather of a place.",
        "parameters": {"type": "object", "required": ["city"], "properties": {
            "city": {"type": "string", "description": "The city, e.g. \"Zürich\""},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
            "days": {"type": "integer", "description": " how many ", "default": 3}}},
        "return": {"type": "object", "additionalProperties": {"type": "number"}}}},
    {"type": "function", "function": {
        "name": "search", "description": "Searches <everything> & more.",
        "parameters": {"type": "object", "properties": {
            "queries": {"type": "array", "items": {"type": "string"}},
            "limits": {"type": "array", "items": {"type": "object", "properties": {
                "from": {"type": "number", "nullable": True}, "to": {"type": ["number", "null"]}}}},
            "strict": {"type": "boolean", "default": False, "description": "Exact?"},
            "any": {"oneOf": [{"type": "string", "description": "text"}, {"type": "integer"}]}}}}},
    {"type": "function", "function": {"name": "now", "description": "The time.",
                                      "parameters": {"type": "object", "properties": {}}}},
]
ARGUMENTS = [{"city": "Zürich", "days": 2}, {"queries": ["a", "b\n\"c\""], "strict": True, "x": None}, {},
             {"city": "<|im_end|>", "deep": {"a": [1, 2.5, [], {}], "é": "\u2028\u007f\u0001"}}]


def text(rng):
    words = [rng.choice(WORDS) for _ in range(rng.randint(1, 14))]
    if rng.random() < 0.2:
        words.insert(rng.randrange(len(words) + 1), rng.choice(MARKERS))
    out = " ".join(words)
    if rng.random() < 0.15:
        out = "<think>\nlet me see: " + rng.choice(WORDS) + "\n</think>\n\n" + out
    if rng.random() < 0.3:
        out = out.replace(" ", "\n", 2)
    return rng.choice(SPACES) + out + rng.choice(SPACES)


def tool_turn(rng, messages):
    calls = []
    for _ in range(1 if rng.random() < 0.8 else 2):
        function = rng.choice(TOOLS)["function"]["name"]
        calls.append({"id": "".join(rng.choice("abcdefghi0123456789") for _ in range(9)), "type": "function",
                      "function": {"name": function, "arguments": rng.choice(ARGUMENTS)}})
    content = rng.choice([None, "", "Calling."]) if rng.random() < 0.5 else ""
    messages.append({"role": "assistant", "content": content, "tool_calls": calls})
    for call in calls:
        messages.append({"role": "tool", "name": call["function"]["name"], "tool_call_id": call["id"],
                         "content": rng.choice(["22.5", "{\"t\": 22.5}", "sunny\n", text(rng)])})


def conversation(rng, number):
    messages = []
    if rng.random() < 0.5:
        messages.append({"role": rng.choice(["system", "system", "system", "developer"]), "content": text(rng)})
    with_tools = number % 4 == 3
    for _ in range(rng.randint(1, 5)):
        content = text(rng)
        if number % 20 == 7:
            content = [{"type": "text", "text": content}, {"type": "image"}, {"type": "text", "text": "and this?"}]
        messages.append({"role": "user", "content": content})
        if with_tools and rng.random() < 0.5:
            tool_turn(rng, messages)
        answer = {"role": "assistant", "content": text(rng)}
        if number % 10 == 5:
            answer["reasoning_content"] = text(rng)
        messages.append(answer)
    if rng.random() < 0.6:
        messages.pop()
    if number % 25 == 11:
        rng.shuffle(messages)
    variables = {"messages": messages, "add_generation_prompt": rng.random() < 0.7, "bos_token": "<s>",
                 "eos_token": "</s>", "tools": None, "documents": None}
    if with_tools:
        variables["tools"] = rng.sample(TOOLS, rng.randint(1, len(TOOLS)))
    if number % 10 == 4:
        variables["documents"] = [{"title": "Über " + rng.choice(WORDS), "text": text(rng)} for _ in range(2)]
    if number % 10 == 6:
        variables["enable_thinking"] = rng.random() < 0.5
    if number % 10 == 8:
        variables["date_string"] = "1 Jan 2024"
        variables["tools_in_user_message"] = False
        variables["tools"] = TOOLS[:1]
    if number % 10 == 9:
        variables["controls"] = {"citations": True, "length": "short"}
    return variables


def conversations():
    rng = random.Random(2025)
    return [conversation(rng, number) for number in range(COUNT)]


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def templates():
    return {path.stem: path.read_text() for path in sorted((HERE / "templates").glob("*.jinja"))}


def main():
    if len(sys.argv) == 3:
        print(render(templates()[sys.argv[1]], conversations()[int(sys.argv[2])]), end="")
        return
    everything = conversations()
    (HERE / "golden" / "conversations.json").write_text(
        "[\n" + ",\n".join(json.dumps(one, ensure_ascii=False) for one in everything) + "\n]\n")
    failures = 0
    with open(HERE / "golden" / "families.txt", "w") as out:
        for name, source in templates().items():
            for number, variables in enumerate(everything):
                expected = render(source, variables)
                failures += expected is None
                data = b"" if expected is None else expected.encode()
                out.write(f"{name} {number} {-1 if expected is None else len(data)} {fnv(data):016x}\n")
    print(f"{len(templates())} templates, {len(everything)} conversations, {failures} refused")


if __name__ == "__main__":
    main()
