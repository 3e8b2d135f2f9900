"""The `openai` package against `vigil serve` with the real model: what people's programs do.

    openai_client_test.py VIGIL     VIGIL: the program; needs the package openai (scripts/openai_client_test.sh)
"""
import json
import subprocess
import sys
import time
import unittest
import urllib.request

import openai

from serving import Serving, model

BINARY = sys.argv.pop(1)
PROMPT = "The lighthouse keeper climbed the stairs and"
QUESTION = [{"role": "user", "content": "Name three colours."}]


class OpenAIClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Serving(BINARY, "--api-key", "secret", "--ctx-size", "1024", "--quiet"))
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="secret", max_retries=0, timeout=120)

    def chat(self, **more):
        return self.client.chat.completions.create(
            **{"model": "any", "messages": QUESTION, "max_tokens": 24, "seed": 1} | more)

    def complete(self, **more):
        return self.client.completions.create(
            **{"model": "any", "prompt": PROMPT, "max_tokens": 24, "seed": 1} | more)

    def metric(self, name):
        request = urllib.request.Request(self.server.url + "/metrics", headers={"Authorization": "Bearer secret"})
        for line in urllib.request.urlopen(request).read().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise KeyError(name)

    def test_the_models_are_listed(self):
        models = self.client.models.list().data
        self.assertEqual([m.id for m in models], ["SmolLM2-135M-Instruct.Q4_1"])

    def test_a_chat_is_the_same_streamed_and_not(self):
        whole = self.chat()
        self.assertEqual(whole.choices[0].message.role, "assistant")
        self.assertIn(whole.choices[0].finish_reason, ("stop", "length"))
        chunks = list(self.chat(stream=True, stream_options={"include_usage": True}))
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertTrue(text.strip())
        self.assertEqual(chunks[-1].usage.completion_tokens, whole.usage.completion_tokens)
        self.assertEqual(chunks[-1].usage.prompt_tokens, whole.usage.prompt_tokens)

    def test_a_completion_with_a_seed_is_what_vigil_run_gives(self):
        for seed in (1, 12345):
            ours = self.complete(seed=seed).choices[0].text
            streamed = "".join(c.choices[0].text for c in self.complete(seed=seed, stream=True) if c.choices)
            run = subprocess.run([BINARY, "run", model(), PROMPT, "-n", "24", "--seed", str(seed), "--device", "cpu",
                                  "--json"], capture_output=True, text=True, check=True)
            lines = [json.loads(line) for line in run.stdout.splitlines()]
            self.assertEqual(ours, "".join(line["text"] for line in lines if "text" in line))
            self.assertEqual(streamed, ours)
        self.assertNotEqual(self.complete(seed=2).choices[0].text, self.complete(seed=1).choices[0].text)

    def test_the_same_seed_gives_the_same_text_through_chat_serve_and_run(self):
        # What the model's own template makes of the question.
        prompt = ("<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
                  f"<|im_start|>user\n{QUESTION[0]['content']}<|im_end|>\n<|im_start|>assistant\n")
        texts = set()
        for seed in (3, 77):
            flags = ["-n", "24", "--seed", str(seed), "--device", "cpu"]
            served = self.chat(seed=seed)
            chat = subprocess.run([BINARY, "chat", model(), *flags], input=QUESTION[0]["content"] + "\n",
                                  capture_output=True, text=True, check=True)
            run = subprocess.run([BINARY, "run", model(), "-p", prompt, "--json", *flags],
                                 capture_output=True, text=True, check=True)
            lines = [json.loads(line) for line in run.stdout.splitlines()]
            text = "".join(line["text"] for line in lines if "text" in line)
            self.assertTrue(text.strip())
            self.assertEqual(served.choices[0].message.content, text)
            self.assertEqual(chat.stdout, text + "\n")
            self.assertEqual(lines[-1]["summary"]["prompt_tokens"], served.usage.prompt_tokens)
            texts.add(text)
        self.assertEqual(len(texts), 2)

    def test_log_probabilities(self):
        answer = self.chat(logprobs=True, top_logprobs=4, max_tokens=8, temperature=0)
        content = answer.choices[0].logprobs.content
        self.assertEqual(len(content), answer.usage.completion_tokens)
        for token in content:
            self.assertEqual(len(token.top_logprobs), 4)
            # Greedy: the token is its own best alternative.
            self.assertEqual(token.top_logprobs[0].token, token.token)
            self.assertAlmostEqual(token.top_logprobs[0].logprob, token.logprob, places=3)
            self.assertEqual(bytes(token.bytes).decode(errors="replace"), token.token)
        streamed = [t for c in self.chat(logprobs=True, top_logprobs=4, max_tokens=8, temperature=0, stream=True)
                    if c.choices and c.choices[0].logprobs for t in c.choices[0].logprobs.content]
        self.assertEqual([t.token for t in streamed], [t.token for t in content])
        older = self.complete(logprobs=2, max_tokens=5).choices[0].logprobs
        self.assertEqual([len(older.tokens), len(older.token_logprobs), len(older.top_logprobs)], [5, 5, 5])

    def test_stop_texts_end_the_answer_and_are_not_in_it(self):
        text = self.complete(temperature=0, max_tokens=40).choices[0].text
        stop = text[len(text) // 2:len(text) // 2 + 7]
        answer = self.complete(temperature=0, max_tokens=40, stop=[stop, "\0never"])
        self.assertEqual(answer.choices[0].text, text[:text.index(stop)])
        self.assertEqual(answer.choices[0].finish_reason, "stop")

    def test_leaving_a_stream_frees_the_kernel(self):
        before = self.metric("vigil_generated_tokens_total")
        stream = self.chat(stream=True, max_tokens=900, extra_body={"ignore_eos": True})
        for _, _ in zip(range(5), stream):
            pass
        stream.close()
        begun = time.monotonic()
        self.chat(max_tokens=1)
        self.assertLess(time.monotonic() - begun, 15)  # all 900 take longer
        self.assertLess(self.metric("vigil_generated_tokens_total") - before, 200)

    def test_a_second_turn_prefills_only_what_is_new(self):
        long = " ".join(f"fact {i}: the number {i} follows {i - 1}." for i in range(1, 30))
        messages = [{"role": "user", "content": long}]
        first = self.chat(messages=messages, temperature=0)
        messages += [{"role": "assistant", "content": first.choices[0].message.content},
                     {"role": "user", "content": "Go on."}]
        second = self.chat(messages=messages, temperature=0)
        self.assertGreater(second.usage.prompt_tokens_details.cached_tokens, first.usage.prompt_tokens - 16)
        timings = second.model_extra["timings"]
        self.assertEqual(timings["reused_tokens"] + timings["prefilled_tokens"] + timings["fed_tokens"],
                         second.usage.prompt_tokens)

    def test_errors_are_the_packages_own(self):
        with self.assertRaises(openai.BadRequestError) as raised:
            self.chat(temperature=9)
        self.assertEqual(raised.exception.param, "temperature")
        with self.assertRaises(openai.BadRequestError) as raised:
            self.complete(prompt="word " * 5000)
        self.assertEqual(raised.exception.code, "context_length_exceeded")
        with self.assertRaises(openai.AuthenticationError):
            openai.OpenAI(base_url=self.server.url + "/v1", api_key="wrong", max_retries=0).models.list()
        with self.assertRaises(openai.NotFoundError):
            self.client.embeddings.create(model="any", input="a")


if __name__ == "__main__":
    unittest.main(verbosity=2)
