// Plans: pure arithmetic on a machine's limits.
#include "host/grid_plan.h"

#include <doctest/doctest.h>

#include "device/sm90/tiles.h"
#include "host/device.h"
#include "tests/host/model_file.h"

namespace vigil::host {
namespace {

using test::message_of;

device::ModelConfig with_kv_heads(std::int32_t n) {
    device::ModelConfig c;
    c.dim = c.ffn_dim = 2048;
    c.n_heads = n;
    c.head_dim = 64;
    c.n_kv_heads = n;
    return c;
}

constexpr GpuLimits kH200{132, 232448, 512};
constexpr GpuLimits kM40{24, 49152, 512};

TEST_CASE("a GPU gets one block per multiprocessor, with the shared memory the phases want") {
    const device::GridPlan plan = plan_gpu(with_kv_heads(8), {10000, 60000}, kH200, 0);
    CHECK(plan.n_blocks == 132);
    CHECK(plan.n_threads == 512);
    CHECK(plan.shared_bytes == 60000);
    CHECK(plan.max_kv_splits == 16);
}

TEST_CASE("the KV length is cut for all blocks, within bounds") {
    CHECK(plan_gpu(with_kv_heads(1), {1, 1}, kH200, 0).max_kv_splits == 64);
    CHECK(plan_gpu(with_kv_heads(200), {1, 1}, kH200, 0).max_kv_splits == 1);
    CHECK(plan_gpu(with_kv_heads(8), {1, 1}, kH200, 16).max_kv_splits == 2);
}

TEST_CASE("a small GPU gives what shared memory it has, or is refused with the numbers") {
    CHECK(plan_gpu(with_kv_heads(8), {10000, 60000}, kM40, 0).shared_bytes == 49152);
    const std::string text = message_of<DeviceError>([] { plan_gpu(with_kv_heads(8), {50000, 60000}, kM40, 0); });
    CHECK(text.find("50000") != std::string::npos);
    CHECK(text.find("49152") != std::string::npos);
}

TEST_CASE("more blocks than multiprocessors are refused, since they would not all be resident") {
    const std::string text = message_of<DeviceError>([] { plan_gpu(with_kv_heads(8), {1, 1}, kM40, 25); });
    CHECK(text.find("25") != std::string::npos);
    CHECK(text.find("24") != std::string::npos);
}

TEST_CASE("the CPU cuts the KV length the same way for any number of threads") {
    const device::GridPlan one = plan_cpu(with_kv_heads(8), {100, 5000}, 1, 0);
    const device::GridPlan many = plan_cpu(with_kv_heads(8), {100, 5000}, 64, 0);
    CHECK(one.max_kv_splits == many.max_kv_splits);
    CHECK(many.n_blocks == 64);
    CHECK(many.n_threads == 1);
    CHECK(many.shared_bytes == 5000);
    CHECK_THROWS_AS(plan_cpu(with_kv_heads(8), {100, 5000}, 0, 0), DeviceError);
    CHECK_THROWS_AS(plan_cpu(with_kv_heads(8), {100, 5000}, 2, 100000), DeviceError);
}

TEST_CASE("a small model gets no more blocks than it has rows, and more are refused") {
    device::ModelConfig small = with_kv_heads(1);
    small.dim = 48;
    CHECK(plan_gpu(small, {1, 1}, kH200, 0).n_blocks == 48);
    CHECK(plan_cpu(small, {1, 1}, 64, 0).n_blocks == 48);
    CHECK(plan_cpu(small, {1, 1}, 64, 48).n_blocks == 48);
    const std::string text = message_of<DeviceError>([&] { plan_cpu(small, {1, 1}, 64, 49); });
    CHECK(text.find("49") != std::string::npos);
    CHECK(text.find("48") != std::string::npos);
}

// The shapes of Llama-3.1-8B, whose long vectors leave the stream the least room of the models that it is tuned for.
device::ModelConfig large(std::uint32_t kinds, device::TensorFormat widest) {
    device::ModelConfig c;
    c.n_layers = 32;
    c.dim = 4096;
    c.ffn_dim = 14336;
    c.n_heads = 32;
    c.n_kv_heads = 8;
    c.head_dim = 128;
    c.vocab_size = 128256;
    const device::TileShape shape = device::tiles::shape(widest, c.ffn_dim, true);
    c.stream.dim = c.stream.heads = c.stream.ffn = kinds;
    c.stream.stage_bytes = shape.chunk_bytes << shape.stage_log2;
    c.stream.stages_per_round = device::tiles::stages_per_round(shape);
    return c;
}

TEST_CASE("a Hopper GPU has room for the stream of a large model in every kind of format") {
    using device::TensorFormat;
    namespace tiles = device::tiles;
    const auto plan = [](const device::ModelConfig& c) { return plan_gpu_stream(c, kH200, 0); };
    const auto has_room_for = [&](std::uint32_t kinds, TensorFormat widest, int copies) {
        const device::ModelConfig c = large(kinds, widest);
        const device::GridPlan p = plan(c);
        CHECK(p.shared_bytes <= kH200.shared_bytes_per_block);
        CHECK(p.stream.max_copies_in_flight >= copies);
        CHECK(p.stream.n_stages > c.stream.stages_per_round + 1 + p.stream.max_copies_in_flight);
    };
    has_room_for(tiles::kHalfParts, TensorFormat::kF16, 6);
    has_room_for(tiles::kInt8Digits, TensorFormat::kQ6_K, 5);
    has_room_for(tiles::kInt8Digits, TensorFormat::kQ8_0, 6);
    device::ModelConfig long_round = large(tiles::kHalfParts, TensorFormat::kF16);
    long_round.stream.stages_per_round = 16;
    CHECK_THROWS_AS(plan(long_round), DeviceError);
}

}  // namespace
}  // namespace vigil::host
