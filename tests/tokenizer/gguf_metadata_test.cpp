// Tokenizer keys of the wrong type in a real file, and a file that was damaged at random: an error, never a crash.
#include <cstring>
#include <doctest/doctest.h>
#include <fstream>
#include <iterator>
#include <random>
#include <unistd.h>

#include "tests/tokenizer/golden.h"

using namespace vigil;
using namespace vigil::test;

namespace {

// Writes the metadata of a GGUF file (version 3, no tensors), little endian like the machines that vigil runs on.
class MetadataWriter {
   public:
    void string(const char* key, std::string_view value) {
        begin(key, gguf::ValueType::string);
        put_string(value);
    }
    void number(const char* key, std::uint32_t value) {
        begin(key, gguf::ValueType::uint32);
        put(value);
    }
    void flag(const char* key, bool value) {
        begin(key, gguf::ValueType::boolean);
        put<std::uint8_t>(value);
    }
    void strings(const char* key, const std::vector<std::string>& values) {
        begin(key, gguf::ValueType::array);
        put(gguf::ValueType::string);
        put<std::uint64_t>(values.size());
        for (const std::string& value : values) put_string(value);
    }
    void floats(const char* key, const std::vector<float>& values) { array(key, gguf::ValueType::float32, values); }
    void integers(const char* key, const std::vector<std::int32_t>& values) {
        array(key, gguf::ValueType::int32, values);
    }

    std::string file() const {
        std::string out = "GGUF";
        const auto append = [&](const auto& value) { out.append(reinterpret_cast<const char*>(&value), sizeof value); };
        append(std::uint32_t{3});
        append(std::uint64_t{0});
        append(count_);
        return out + body_;
    }

   private:
    template <class T>
    void put(T value) {
        body_.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    void put_string(std::string_view text) {
        put<std::uint64_t>(text.size());
        body_ += text;
    }
    void begin(const char* key, gguf::ValueType type) {
        ++count_;
        put_string(key);
        put(type);
    }
    template <class T>
    void array(const char* key, gguf::ValueType type, const std::vector<T>& values) {
        begin(key, gguf::ValueType::array);
        put(type);
        put<std::uint64_t>(values.size());
        for (const T value : values) put(value);
    }

    std::uint64_t count_ = 0;
    std::string body_;
};

// A file that lives as long as the test.
class TemporaryFile {
   public:
    explicit TemporaryFile(std::string_view content)
        : path_(std::filesystem::temp_directory_path() / ("vigil-tokenizer-" + std::to_string(getpid()) + ".gguf")) {
        std::ofstream(path_, std::ios::binary) << content;
    }
    ~TemporaryFile() { std::filesystem::remove(path_); }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    const std::filesystem::path& path() const { return path_; }

   private:
    std::filesystem::path path_;
};

// The message of the TokenizerError that the file gives, or "" if it gives a tokenizer.
std::string refusal(const MetadataWriter& metadata) {
    const TemporaryFile temporary(metadata.file());
    const gguf::File file = gguf::File::open(temporary.path());
    try {
        Tokenizer::from_gguf(file);
    } catch (const TokenizerError& error) {
        CHECK(std::string(error.what()).find(temporary.path().filename().string()) != std::string::npos);
        return error.what();
    }
    return "";
}

// A complete small SPM vocabulary, with `spoil` in place of the key it writes.
template <class Spoil>
std::string refusal_with(const char* spoilt_key, Spoil spoil) {
    MetadataWriter metadata;
    const auto unless_spoilt = [&](const char* key, auto write) {
        if (std::strcmp(key, spoilt_key) == 0) {
            spoil(metadata, key);
        } else {
            write(key);
        }
    };
    metadata.string("general.architecture", "llama");
    unless_spoilt("tokenizer.ggml.model", [&](const char* key) { metadata.string(key, "llama"); });
    unless_spoilt("tokenizer.ggml.pre", [&](const char* key) { metadata.string(key, "default"); });
    unless_spoilt("tokenizer.ggml.tokens", [&](const char* key) { metadata.strings(key, {"<unk>", "<s>", "a"}); });
    unless_spoilt("tokenizer.ggml.scores", [&](const char* key) { metadata.floats(key, {0, 0, -1}); });
    unless_spoilt("tokenizer.ggml.token_type", [&](const char* key) { metadata.integers(key, {2, 3, 1}); });
    unless_spoilt("tokenizer.ggml.bos_token_id", [&](const char* key) { metadata.number(key, 1); });
    unless_spoilt("tokenizer.ggml.add_bos_token", [&](const char* key) { metadata.flag(key, true); });
    return refusal(metadata);
}

void check_named(const char* key, const std::string& message) {
    CAPTURE(message);
    CHECK(message.find(key) != std::string::npos);
}

}  // namespace

TEST_CASE("a key of the wrong type is refused by name") {
    REQUIRE(refusal_with("none", [](MetadataWriter&, const char*) {}) == "");
    const auto as_number = [](MetadataWriter& metadata, const char* key) { metadata.number(key, 7); };
    const auto as_string = [](MetadataWriter& metadata, const char* key) { metadata.string(key, "seven"); };
    const auto as_strings = [](MetadataWriter& metadata, const char* key) { metadata.strings(key, {"1", "2", "3"}); };
    const auto as_integers = [](MetadataWriter& metadata, const char* key) { metadata.integers(key, {1, 2, 3}); };
    for (const char* key : {"tokenizer.ggml.model", "tokenizer.ggml.pre"}) {
        check_named(key, refusal_with(key, as_number));
        check_named(key, refusal_with(key, as_strings));
    }
    for (const char* key : {"tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.ggml.token_type"}) {
        check_named(key, refusal_with(key, as_number));
        check_named(key, refusal_with(key, as_string));
    }
    check_named("tokenizer.ggml.tokens", refusal_with("tokenizer.ggml.tokens", as_integers));
    check_named("tokenizer.ggml.scores", refusal_with("tokenizer.ggml.scores", as_strings));
    check_named("tokenizer.ggml.token_type", refusal_with("tokenizer.ggml.token_type", as_strings));
    for (const char* key : {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.add_bos_token"}) {
        check_named(key, refusal_with(key, as_string));
        check_named(key, refusal_with(key, as_integers));
    }
}

TEST_CASE("a key without which there is no tokenizer is missed by name") {
    const auto left_out = [](MetadataWriter&, const char*) {};
    for (const char* key : {"tokenizer.ggml.model", "tokenizer.ggml.tokens", "tokenizer.ggml.scores"}) {
        check_named(key, refusal_with(key, left_out));
    }
    CHECK(refusal_with("tokenizer.ggml.token_type", left_out) == "");
}

TEST_CASE("a damaged file gives an error or a tokenizer that works, never a crash") {
    std::mt19937 random(3);
    for (const char* name : {"smollm", "spm"}) {
        std::ifstream in(golden_folder() / (std::string(name) + ".gguf"), std::ios::binary);
        const std::string whole{std::istreambuf_iterator<char>(in), {}};
        for (int i = 0; i < 300; ++i) {
            std::string damaged = whole;
            for (int hits = 0; hits < 1 + i % 4; ++hits)
                damaged[random() % damaged.size()] = static_cast<char>(random());
            const TemporaryFile temporary(damaged);
            try {
                const Tokenizer tokenizer = Tokenizer::from_gguf(gguf::File::open(temporary.path()));
                const std::vector<Token> ids = tokenizer.encode("Hello <|im_end|> 你好 123\xff");
                for (const Token id : ids) CHECK((id >= 0 && id < tokenizer.vocab_size()));
                tokenizer.decode(ids);
            } catch (const gguf::Error&) {
            } catch (const TokenizerError&) {
            }
        }
    }
}
