#!/usr/bin/env python3
"""Quantises a model with vigil and with llama.cpp and compares: keys and tensor types must be equal, and on vigil's files
both programs must give the same logits.

    compare_with_llama_cpp.py VIGIL MODEL [TYPE…]      e.g. build/vigil SmolLM2-135M-Instruct.F16.gguf Q4_0 Q4_K_M

MODEL is F32, F16 or BF16. Needs: pip install numpy gguf llama-cpp-python. llama.cpp rounds activations to 8 bits before it
multiplies them with quantised weights, an error of some percent that vigil does not make; therefore it gets vigil's file
unpacked to F32, by its own unpacking.
"""

import ctypes
import subprocess
import sys
import tempfile
from pathlib import Path

import llama_cpp
import numpy as np
from gguf import GGUFReader

# llama.cpp's numbers of the types; its Q4_K and Q5_K are the mixtures.
FILE_TYPES = {"F32": 0, "Q8_0": 7, "Q4_0": 2, "Q4_1": 3, "Q5_0": 8, "Q5_1": 9, "Q6_K": 18, "Q4_K_M": 15, "Q5_K_M": 17}
TEXT = "The weights of a model are read once for every token, and so the bytes of a weight decide how long it takes. " * 3
N_TOKENS = 64
LARGEST_DIFFERENCE = 1e-2  # of the logits of a token, relative to their norm


def llama_cpp_quantize(source, target, name):
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = FILE_TYPES[name]
    parameters.allow_requantize = True
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters)) != 0:
        raise RuntimeError(f"llama.cpp cannot quantise {source} to {name}")


def contents(path):
    reader = GGUFReader(path)
    keys = {key: [bytes(part) for part in field.parts] for key, field in reader.fields.items()}
    return keys, {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}


def llama_cpp_logits(path, ids):
    parameters = llama_cpp.llama_model_default_params()
    parameters.use_extra_bufts = False  # their AMX code ends in a crash on virtual machines that show AMX but lack it
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
    options = llama_cpp.llama_context_default_params()
    options.n_ctx = options.n_batch = options.n_ubatch = len(ids)
    context = llama_cpp.llama_init_from_model(model, options)
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
        batch.seq_id[i][0] = 0
    if llama_cpp.llama_decode(context, batch) != 0:
        raise RuntimeError(f"llama.cpp cannot decode with {path}")
    n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits(context), (len(ids), n_vocab)).copy()
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return logits


def compare(vigil, model, name, folder):
    ours, theirs, unpacked = folder / "ours.gguf", folder / "theirs.gguf", folder / "unpacked.gguf"
    text, rows = folder / "text", folder / "logits"
    subprocess.run([vigil, "quantize", model, ours, name], check=True, stdout=subprocess.DEVNULL)
    llama_cpp_quantize(model, theirs, name)
    (our_keys, our_types), (their_keys, their_types) = contents(ours), contents(theirs)
    same = our_types == their_types and our_keys == their_keys
    llama_cpp_quantize(ours, unpacked, "F32")
    text.write_text(TEXT)
    ids = subprocess.run([vigil, "tokenize", ours, TEXT], check=True, capture_output=True, text=True).stdout.split()
    ids = [int(token) for token in ids][:N_TOKENS]
    subprocess.run([vigil, "perplexity", ours, text, "--device", "cpu", "--logits-out", rows], check=True,
                   stdout=subprocess.DEVNULL)
    reference = llama_cpp_logits(unpacked, ids)
    found = np.fromfile(rows, np.float32).reshape(-1, reference.shape[1])[: len(ids)]
    difference = np.linalg.norm(found - reference, axis=1) / np.linalg.norm(reference, axis=1)
    print(f"{name}: keys and types {'equal' if same else 'DIFFERENT'}, logits differ by {difference.mean():.5f}, at most "
          f"{difference.max():.5f}", flush=True)
    return same and difference.max() < LARGEST_DIFFERENCE


@llama_cpp.llama_log_callback
def say_nothing(*_):
    pass


def main():
    vigil, model, *names = sys.argv[1:]
    llama_cpp.llama_log_set(say_nothing, ctypes.c_void_p(0))
    with tempfile.TemporaryDirectory() as folder:
        good = [compare(vigil, model, name, Path(folder)) for name in names or [n for n in FILE_TYPES if n != "F32"]]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
