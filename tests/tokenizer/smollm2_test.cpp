// Token ids equal to llama.cpp's under the real SmolLM2 vocabulary. Skipped (exit code 77) where the model is missing.
#include <cstdio>
#include <cstdlib>
#include <doctest/doctest.h>

#include "tests/tokenizer/golden.h"

using namespace vigil;
using namespace vigil::test;

namespace {

const Tokenizer& smollm2() {
    static const Tokenizer tokenizer = [] {
        const char* chosen = std::getenv("VIGIL_MODEL");
        const std::filesystem::path path =
            chosen ? std::filesystem::path(chosen)
                   : std::filesystem::path(VIGIL_TEST_DATA) / "../models/SmolLM2-135M-Instruct.Q4_1.gguf";
        if (!std::filesystem::exists(path)) {
            std::fprintf(stderr, "skipped: no model at %s (VIGIL_MODEL names another place)\n", path.c_str());
            std::exit(77);
        }
        return Tokenizer::from_gguf(gguf::File::open(path));
    }();
    return tokenizer;
}

}  // namespace

TEST_CASE("ids under SmolLM2's vocabulary are llama.cpp's") {
    CHECK(smollm2().kind() == "smollm");
    CHECK(smollm2().warnings().empty());
    check_against(load_golden("smollm2"), smollm2());
}

TEST_CASE("a chat turn is special tokens around text, and comes back whole") {
    const std::string turn = "<|im_start|>user\nWhat is 2 + 2?<|im_end|>\n";
    const std::vector<Token> ids = smollm2().encode(turn);
    CHECK(ids.front() == 1);
    CHECK(smollm2().is_control(ids.front()));
    CHECK(smollm2().decode(ids, true) == turn);
    CHECK(smollm2().decode(ids) == "user\nWhat is 2 + 2?\n");
}
