"""Makes the tokenizer's golden data: token ids that other implementations give for cases.json.

    python3 -m venv env && env/bin/pip install llama-cpp-python tokenizers sentencepiece gguf
    env/bin/python tests/golden/tokenizer/make_golden.py --smollm2 models/SmolLM2-135M-Instruct.Q4_1.gguf

Writes, beside itself:
  cases.json          the texts, as a string each, or {"hex": …} for bytes that are no UTF-8
  smollm2.json        ids of those texts under the real SmolLM2 vocabulary (which is not in the tree)
  NAME.gguf, .json    for each pre-tokenizer and for SPM: a tiny vocabulary trained on corpus.txt, and the ids under it

The ids in a NAME.json come from the implementation that it names as "reference":
  llama.cpp    wherever it applies the published pattern, and for SPM
  tokenizers   where llama.cpp only approximates the published pattern (EXPECT_DIFFERENT below)
Both run on every text that is valid UTF-8. A difference in any vocabulary that EXPECT_DIFFERENT does not list stops the
script, so the golden ids have two independent witnesses. "words" are the pre-tokenizer's cuts alone, by `tokenizers`.
"""

import argparse
import ctypes
import io
import json
import pathlib

import gguf
import llama_cpp
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent
CORPUS = HERE / "corpus.txt"

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The ranges of tokenizer.json, by code point: Unicode normalisation in an editor must not touch them.
DEEPSEEK_LETTERS = (
    "41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376 377 37B-37D 37F 386 388-38A 38C 38E-3A1 "
    "3A3-3F5 3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF 1D00-1D2B 1D6B-1D77 1D79-1D9A "
    "1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 "
    "1FC6-1FCC 1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 "
    "212A-212D 212F-2134 2139 213C-213F 2145-2149 214E 2183 2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 A640-A66D "
    "A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A FF41-FF5A 10400-1044F 104B0-104D3 "
    "104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943"
)


def character_class(ranges):
    return "[" + "".join("-".join(chr(int(end, 16)) for end in r.split("-")) for r in ranges.split()) + "]"


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


BYTE_LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
BYTE_LEVEL_GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
PRE_TOKENIZERS = {
    # llama.cpp's own; no tokenizer.json is the source
    "default": [split(r"[\p{P}\$\+<=>\^~\|]+"), split(GPT2), split(r"\p{N}+"), split("[0-9][0-9][0-9]"), BYTE_LEVEL],
    "gpt-2": [BYTE_LEVEL_GPT2],
    "llama-bpe": [split(LLAMA3), BYTE_LEVEL],
    "qwen2": [split(LLAMA3.replace("{1,3}", "")), BYTE_LEVEL],
    "smollm": [pre_tokenizers.Digits(individual_digits=True), BYTE_LEVEL_GPT2],
    "tekken": [split(TEKKEN), BYTE_LEVEL],
    "deepseek-llm": [
        split(r"[\r\n]"),
        split(r"\s?" + character_class(DEEPSEEK_LETTERS) + "+"),
        split(r"\s?" + character_class("21-2F 3A-7E FF01-FF0F FF1A-FF5E 2018-201F 3000-3002") + "+"),
        split(r"\s+$"),
        split(character_class("4E00-9FA5 800-4E00 AC00-D7FF") + "+"),
        pre_tokenizers.Digits(individual_digits=True),
        BYTE_LEVEL,
    ],
}
IGNORE_MERGES = {"llama-bpe", "tekken"}
# Vocabularies under which llama.cpp may differ from `tokenizers`, with the reason.
EXPECT_DIFFERENT = {"tekken": "llama.cpp replaces the published classes, which count combining marks, by ones that do not"}

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
USER_DEFINED = ["<tool>", "<tool_call>"]

CASES_TEXT = CORPUS.read_text(encoding="utf-8").split("\n")
CASES_PLAIN = [
    # nothing, blanks, line ends
    "", " ", "  ", "   ", "     ", "\t", "\t\t", "\n", "\n\n", "\n\n\n", "\r\n", "\r\n\r\n", "\r", " \n", "\n ", " \n \n ",
    "\t\n", " \t ", "\v", "\f", "a\vb\fc", "a b", "a  b", "a   b", "a    b     c", " a", "  a", "   a", "a ", "a  ", "a   ",
    "a\n", "a\n\n", "a \n b", "a\r\nb\r\n", "\ta", "\t\ta\t", "a\tb", "a \tb", "a\t b", "  \n  \n  x", "x\n\n   y",
    "line one\nline two\n\nline four\n", "    indented\n        twice\n", "\u00a0", "a\u00a0b", "a\u00a0\u00a0b",
    "a\u2003b", "\u3000全角\u3000空白", "a\u2028b\u2029c", "a\u0085b", "a\u180eb", "a\u200bb", "\ufeffBOM", "a\u202fb", "\u1680x",
    # contractions
    "I'm", "it's", "don't", "we're", "they've", "I'll", "she'd", "I'M", "IT'S", "DON'T", "WE'RE", "THEY'VE", "I'LL", "SHE'D",
    "it'S he'Ll you'rE", "'s", "'", "''", "'''", " 's", "x's's", "o'clock", "rock'n'roll", "l'été", "it\u2019s", "it'\u017f",
    # numbers
    "0", "1", "12", "123", "1234", "12345", "123456", "1234567", "1234567890", "3.14", "1,000,000", "1e-9", "0xFF", "1 2 3",
    " 123", "  123", "123 ", "v1.2.3", "2024-11-21T07:00:00Z", "50%", "$100", "١٢٣٤", "१२३४५", "１２３４", "½¼¾", "²³¹", "ⅣⅫ", "𝟘𝟙𝟚",
    "a1b2c3", "abc123def456", "3rd", "100km/h", "1²", "①②③",
    # letters and words
    "a", "A", "hello", "Hello", "HELLO", "hello world", "Hello, world!", " Hello", "helloWorld", "HelloWorld", "HELLOworld",
    "iPhone", "XMLHttpRequest", "parseHTTPResponse2", "snake_case_name", "SCREAMING_SNAKE", "kebab-case-name", "ǅungla",
    "antidisestablishmentarianism", "pneumonoultramicroscopicsilicovolcanoconiosis", "a" * 50, "ab" * 40, "A" * 33, "aA" * 20,
    "Donaudampfschifffahrtsgesellschaftskapitän", "naïve café", "ÉCOLE école École", "straßeSTRASSE", "éÉÈè", "ﬁﬂ ﬀ",
    # combining marks
    "e\u0301", "cafe\u0301", "n\u0303ino", "\u0301", " \u0301a", "a\u0301\u0302\u0303b", "Z\u0351\u036b\u0343a\u0364l\u0348g\u0323o\u0306", "\u0915\u094d\u0937",
    "שָׁלוֹם", "مُحَمَّد", "ที่นี่", "Tiếng Việt", "Tie\u0302\u0301ng Vie\u0323\u0302t",
    # scripts
    "你好", "你好，世界！", "今天天气很好。", "漢字かな交じり文", "ひらがな", "カタカナ", "ｶﾀｶﾅ", "ＡＢＣ", "안녕하세요", "한국어 문장입니다.", "ㄱㄴㄷ",
    "Привет, мир!", "Ёлка", "Γειά σου Κόσμε", "Ἀρχὴ σοφίας", "مرحبا بالعالم", "שלום עולם", "नमस्ते दुनिया", "สวัสดีชาวโลก", "ქართული", "հայերեն",
    "தமிழ்", "አማርኛ", "ᏣᎳᎩ", "𐐀𐐁𐐨", "𞤀𞤁", "𝒜𝓑", "中文English混排test", "日本語とEnglish、123", "한국어English123", "中 文 空 格", "。。。", "「」『』", "々〆〇",
    # emoji
    "😀", "😀😃", " 😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇩🇪🇫🇷🇯🇵", "❤️", "1️⃣", "text😀text", "🫠🫡", "☺", "☺️", "👩🏾‍🚀 in space 🚀!",
    # punctuation and symbols
    "!", "!!", "!!!", "...", "…", "?!", "a.b.c", "(a)", "[b]", "{c}", "<d>", "a/b\\c", "a//b", "path/to/file.txt", "C:\\Users\\me",
    "user@example.com", "https://example.com/a?b=c&d=e#f", "a=b", "a==b", "a<=b>=c", "x+=1", "**bold** _it_ `code`", "# Title\n\n- item\n- item\n",
    "#!/bin/sh", "-----", "=====", "~~~~", "_____", "a--b", "—–", "“quoted”", "€100 £20", "∑∫∞≠", "a→b", "$x^2$", "a|b||c", "^~`", "!\n", "!\r\n\r\n", "./", "a;/\n",
    # code
    "for (int i = 0; i < 10; i++) {\n\tsum += i;\n}\n", "def f(x):\n    return x**2  # square\n", "if(a&&b||!c){}", "x = [1, 2, 3]\n", "{\"key\": [true, null, 1.5e3]}",
    "SELECT * FROM t WHERE id=1;", "<div class=\"x\">\n  <p>hi</p>\n</div>", "printf(\"%d\\n\", x);", "a->b::c.d()", "\\frac{a}{b}", "0b1010 0o17 1_000",
    # control characters
    "\x00", "a\x00b", "\x01\x02\x03", "\x1b[31mred\x1b[0m", "\x7f", "\b\a", "\x80".encode("latin-1").decode("latin-1"), "\x9f",
    # the text of byte tokens and of SPM's blank
    "<0x0A>", "▁", "▁▁a", "a▁b", "Ġ", "Ċ", "\ufffd", "\U0010ffff", "\ue000",
]
CASES_SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>system\nYou are helpful.<|im_end|>\n", "a<|im_end|>b", "a <|im_end|> b", " <|im_end|>", "<|im_end|> ", "<|im_end|><|im_end|>",
    "<|im_end|>\n\n", "<|im_start", "im_start|>", "<<|im_start|>>", "<|IM_START|>", "<|im_start|><|im_end|><|endoftext|>", "<tool>", "<tool_call>",
    "<tool>x</tool>", "a<tool_call>b<tool>c", "<tool><tool_call>", "<|im_start|>1<tool>2<|im_end|>3", "<s>", "</s>", "<unk>", "<s>hi</s>", "[INST] hi [/INST]",
    "<|eot_id|>", "<repo_name>x", "<reponame>", "<file_sep>a.py", "don't<|im_end|>'s", "你好<|im_end|>世界", "😀<|im_end|>😀",
]
CASES_INVALID = [
    b"\xff", b"a\xffb", b"\x80", b"\xc3", b"\xc3(", b"\xe2\x82", b"\xe2\x82a", b"\xe2\x28\xa1", b"\xf0\x9f\x98", b"\xf0\x9f\x98 x", b"hello\xf0\x28\x8c\xbc",
    b"\xfe\xfe\xff\xff", b"caf\xe9 au lait", b"\xe4\xbd\xa0\xe5\xa5", b"<|im_start|>\xff<|im_end|>",
]


class Llama:
    """A vocabulary as llama.cpp reads it."""

    def __init__(self, path):
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        assert self.model, f"llama.cpp cannot load {path}"
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)

    def encode(self, data, parse_special, add_special=False):
        room = 4 * len(data) + 16
        buffer = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self.vocab, data, len(data), buffer, room, add_special, parse_special)
        assert count >= 0
        return list(buffer[:count])

    def piece(self, token, special):
        buffer = ctypes.create_string_buffer(512)
        count = llama_cpp.llama_token_to_piece(self.vocab, token, buffer, 512, 0, special)
        assert count >= 0
        return buffer.raw[:count]

    def facts(self):
        count = llama_cpp.llama_vocab_n_tokens(self.vocab)
        return {
            "vocab_size": count,
            "bos": llama_cpp.llama_vocab_bos(self.vocab),
            "eos": llama_cpp.llama_vocab_eos(self.vocab),
            "adds_bos": llama_cpp.llama_vocab_get_add_bos(self.vocab),
            "adds_eos": llama_cpp.llama_vocab_get_add_eos(self.vocab),
            "end_of_generation": [i for i in range(count) if llama_cpp.llama_vocab_is_eog(self.vocab, i)],
            "with_bos": self.encode(b"Hello", False, add_special=True),
        }


def make_cases():
    texts = [t for t in dict.fromkeys(CASES_PLAIN + CASES_SPECIAL + CASES_TEXT)]
    return [t.encode("utf-8") for t in texts] + CASES_INVALID


def write_json(path, value):
    """One array element or object member a line, so that a diff shows which text changed."""
    def line(v):
        return json.dumps(v, ensure_ascii=False, separators=(",", ":"))

    if isinstance(value, list):
        body = "[\n" + ",\n".join(map(line, value)) + "\n]\n"
    else:
        members = []
        for key, v in value.items():
            text = "[\n" + ",\n".join(map(line, v)) + "]" if isinstance(v, list) and v and isinstance(v[0], list) else line(v)
            members.append(f'"{key}": {text}')
        body = "{\n" + ",\n".join(members) + "\n}\n"
    path.write_text(body, encoding="utf-8")


def decodable(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def compare(name, cases, llama, encode, modes=(False, True)):
    """The case numbers on which llama.cpp and `encode(text, parse_special)` differ."""
    different = []
    for i, data in enumerate(cases):
        text = decodable(data)
        if text is None:
            continue
        for parse_special in modes:
            ours, theirs = encode(text, parse_special), llama.encode(data, parse_special)
            if ours != theirs:
                different.append(i)
                print(f"{name}: {text!r} special={parse_special}\n  llama.cpp {theirs}\n  reference {ours}")
    return sorted(set(different))


def golden(reference, cases, llama, encode, only_utf8=False):
    """Ids without and with special tokens parsed; the latter only where they differ. null: no golden ids."""
    plain, special = [], {}
    for i, data in enumerate(cases):
        text = decodable(data)
        if only_utf8 and text is None:
            plain.append(None)
            continue
        both = [
            encode(text, p) if reference == "tokenizers" and text is not None else llama.encode(data, p) for p in (False, True)
        ]
        plain.append(both[0])
        if both[0] != both[1]:
            special[str(i)] = both[1]
    return {"reference": reference, **llama.facts(), "ids": plain, "ids_with_special": special}


def write_vocabulary(path, model, tokens, types, merges=None, scores=None, pre=None, bos=None, eos=None, unk=None):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    if pre:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if scores is not None:
        writer.add_token_scores(scores)
    if merges is not None:
        writer.add_token_merges(merges)
    writer.add_bos_token_id(bos)
    writer.add_eos_token_id(eos)
    if unk is not None:
        writer.add_unk_token_id(unk)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def train_bpe(name):
    """A tiny vocabulary for the pre-tokenizer `name`, as (tokenizers.Tokenizer, path of its GGUF file)."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=name in IGNORE_MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(PRE_TOKENIZERS[name])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        min_frequency=1,
        show_progress=False,
        special_tokens=CONTROL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train([str(CORPUS)], trainer)
    if name in IGNORE_MERGES:  # a word that merges cannot reach, as in Llama 3's vocabulary
        tokenizer = add_unmergeable(tokenizer, "Ġtokenization")
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in USER_DEFINED])
    state = json.loads(tokenizer.to_str())
    merges = [" ".join(m) for m in state["model"]["merges"]]
    vocab = tokenizer.get_vocab()
    tokens = sorted(vocab, key=vocab.get)
    assert list(range(len(tokens))) == [vocab[t] for t in tokens]
    kind = {**dict.fromkeys(CONTROL, gguf.TokenType.CONTROL), **dict.fromkeys(USER_DEFINED, gguf.TokenType.USER_DEFINED)}
    path = HERE / f"{name}.gguf"
    write_vocabulary(
        path, "gpt2", tokens, [kind.get(t, gguf.TokenType.NORMAL) for t in tokens], merges=merges, pre=name,
        bos=vocab["<|endoftext|>"], eos=vocab["<|im_end|>"],
    )
    return tokenizer, path


def add_unmergeable(tokenizer, token):
    state = json.loads(tokenizer.to_str())
    state["model"]["vocab"][token] = len(state["model"]["vocab"])
    return Tokenizer.from_str(json.dumps(state))


def bpe_encoder(tokenizer):
    def encode(text, parse_special):
        tokenizer.encode_special_tokens = not parse_special
        return tokenizer.encode(text, add_special_tokens=False).ids

    return encode


def words(name, cases):
    """The cuts of the pre-tokenizer alone, as byte offsets of the words' ends; null where the text is not UTF-8."""
    pre = pre_tokenizers.Sequence(PRE_TOKENIZERS[name])
    out = []
    for data in cases:
        text = decodable(data)
        if text is None:
            out.append(None)
            continue
        out.append([len(text[:end].encode("utf-8")) for _, (_, end) in pre.pre_tokenize_str(text)])
    return out


def train_spm():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        input=str(CORPUS), model_writer=model, model_type="bpe", vocab_size=1200, byte_fallback=True, hard_vocab_limit=False,
        normalization_rule_name="identity", remove_extra_whitespaces=False, character_coverage=0.98,
        control_symbols=["<|im_start|>", "<|im_end|>"], user_defined_symbols=USER_DEFINED, unk_id=0, bos_id=1, eos_id=2,
        allow_whitespace_only_pieces=True, minloglevel=2, num_threads=1,
    )
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    tokens, scores, types = [], [], []
    for i in range(sp.get_piece_size()):
        tokens.append(sp.id_to_piece(i))
        scores.append(sp.get_score(i))
        if sp.is_unknown(i):
            kind = gguf.TokenType.UNKNOWN
        elif sp.is_control(i):
            kind = gguf.TokenType.CONTROL
        elif sp.is_byte(i):
            kind = gguf.TokenType.BYTE
        elif tokens[-1] in USER_DEFINED:
            kind = gguf.TokenType.USER_DEFINED
        else:
            kind = gguf.TokenType.NORMAL
        types.append(kind)
    path = HERE / "spm.gguf"
    write_vocabulary(path, "llama", tokens, types, scores=scores, bos=1, eos=2, unk=0)
    return sp, path


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--smollm2", type=pathlib.Path, help="SmolLM2-135M-Instruct GGUF; smollm2.json is kept without it")
    options = arguments.parse_args()
    silent = llama_cpp.llama_log_callback(lambda level, text, user: None)
    llama_cpp.llama_log_set(silent, None)

    cases = make_cases()
    texts = [decodable(data) for data in cases]
    write_json(HERE / "cases.json", [{"hex": d.hex()} if t is None else t for d, t in zip(cases, texts)])
    print(f"{len(cases)} texts")

    for name in PRE_TOKENIZERS:
        tokenizer, path = train_bpe(name)
        llama, encode = Llama(path), bpe_encoder(tokenizer)
        different = compare(name, cases, llama, encode)
        print(f"{name}: {tokenizer.get_vocab_size()} tokens, llama.cpp differs from tokenizers on {len(different)} texts")
        assert not different or name in EXPECT_DIFFERENT, name
        reference = "tokenizers" if name in EXPECT_DIFFERENT else "llama.cpp"
        write_json(HERE / f"{name}.json", {**golden(reference, cases, llama, encode), "words": words(name, cases)})

    sp, path = train_spm()
    llama = Llama(path)
    # Around user-defined tokens the two put the space prefix in different places; llama.cpp's rule is the golden one.
    comparable = [data for data in cases if not any(token.encode() in data for token in USER_DEFINED)]
    different = compare("spm", comparable, llama, lambda text, _: sp.encode(text), [False])
    print(f"spm: {sp.get_piece_size()} tokens, llama.cpp differs from sentencepiece on {len(different)} texts")
    assert not different
    # Before an invalid byte llama.cpp's SPM swallows the valid characters after it too; vigil does not follow it there.
    write_json(HERE / "spm.json", golden("llama.cpp", cases, llama, None, only_utf8=True))

    if options.smollm2:
        llama = Llama(options.smollm2)
        write_json(HERE / "smollm2.json", golden("llama.cpp", cases, llama, None))


if __name__ == "__main__":
    main()
