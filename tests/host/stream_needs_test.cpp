// What is asked of the Hopper path for a file: whether it can take it, and how its stream should look.
#include "host/stream_needs.h"

#include <doctest/doctest.h>

#include "device/sm90/tiles.h"
#include "host/model.h"
#include "tests/host/synthetic_file.h"

namespace vigil::host {
namespace {

namespace tiles = device::tiles;

// A layer of narrow matrices but for the feed-forward's.
device::StreamNeeds needs_of(const char* type, std::uint32_t ffn_dim) {
    synth::ModelSpec spec;
    spec.type = type;
    spec.n_layers = 1;
    spec.ffn_dim = ffn_dim;
    const gguf::File file = test::open_synthetic(spec);
    return stream_needs(file, read_config(file, 0));
}

TEST_CASE("long inputs are multiplied in rounds where bytes and not instructions decide") {
    for (const char* type : {"F16", "BF16"}) {
        CAPTURE(type);
        CHECK(needs_of(type, 768).in_rounds == 1);
    }
    CHECK(needs_of("Q8_0", 8192).in_rounds == 0);
    CHECK(needs_of("Q8_0", 14336).in_rounds == 1);
    for (const char* type : {"Q4_K", "Q6_K", "Q4_0"}) {
        CAPTURE(type);
        CHECK(needs_of(type, 14336).in_rounds == 0);
    }
}

TEST_CASE("the fewer bits a weight has, the fewer bytes are on their way at once") {
    const auto in_flight = [](const char* type) { return needs_of(type, 768).bytes_in_flight; };
    CHECK(in_flight("F16") > in_flight("Q8_0"));
    CHECK(in_flight("Q8_0") > in_flight("Q4_K"));
    CHECK(in_flight("Q4_K") > 0);
}

TEST_CASE("long rows have more bytes on their way, of 8 bits in shorter stages") {
    for (const char* type : {"Q8_0", "Q4_K"}) {
        CAPTURE(type);
        CHECK(needs_of(type, 14336).bytes_in_flight > needs_of(type, 8192).bytes_in_flight);
    }
    CHECK(needs_of("Q8_0", 14336).stage_bytes == needs_of("Q8_0", 8192).stage_bytes / 2);
    CHECK(needs_of("Q8_0", 14336).stages_per_round == needs_of("Q8_0", 8192).stages_per_round * 2);
    CHECK(needs_of("Q4_K", 14336).stage_bytes == needs_of("Q4_K", 8192).stage_bytes);
}

TEST_CASE("rows longer than the barriers of an input reach are not for the Hopper path") {
    CHECK(needs_of("Q4_0", tiles::kMaxCols).ffn == tiles::kInt8Digits);
    CHECK(needs_of("Q4_0", tiles::kMaxCols + tiles::kSlabCols).ffn == 0);
}

}  // namespace
}  // namespace vigil::host
