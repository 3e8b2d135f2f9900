// The workspace: every part is there, apart from the others, aligned and zero.
#include "host/workspace.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <vector>

#include "device/sm90/replicas.h"

namespace vigil::host {
namespace {

device::ModelConfig small_config() {
    device::ModelConfig c;
    c.n_layers = 2;
    c.dim = 24;
    c.ffn_dim = 40;
    c.n_heads = 3;
    c.n_kv_heads = 1;
    c.head_dim = 8;
    c.rotary_dim = 8;
    c.vocab_size = 33;
    c.max_seq_len = 17;
    return c;
}

device::GridPlan small_plan() {
    device::GridPlan plan;
    plan.n_blocks = 2;
    plan.max_kv_splits = 5;
    return plan;
}

struct Part {
    const void* begin;
    std::size_t bytes;
};

std::vector<Part> parts_of(const device::KernelArgs& a) {
    const std::size_t kv = 2 * 1 * 17 * 8 * sizeof(std::uint16_t);
    return {
        {a.kv.k, kv},
        {a.kv.v, kv},
        {a.act.residual, 24 * 4},
        {a.act.qkv, (3 + 2) * 8 * 4},
        {a.act.partials, 3 * 5 * 32 * 4},
        {a.act.heads, 3 * 8 * 4},
        {a.act.hidden, 40 * 4},
        {a.act.logits, 33 * 4},
        {a.act.scores, 33 * 4},
        {a.act.tiles, 2 * sizeof(device::LogitTile)},
        {a.history, 18 * 4},
        {a.state, sizeof(device::DecodeState)},
        {a.sync, sizeof(device::SyncWords)},
    };
}

TEST_CASE("the parts are aligned, zero and do not overlap") {
    const auto device = make_cpu_device(1);
    const Workspace workspace(*device, small_config(), small_plan());
    device::KernelArgs args;
    args.job_capacity = 77;
    workspace.fill(args);
    CHECK(args.job_capacity == 77);
    CHECK(args.config.vocab_size == 33);
    CHECK(args.plan.max_kv_splits == 5);

    std::vector<Part> parts = parts_of(args);
    std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.begin < b.begin; });
    const auto address = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p); };
    for (std::size_t i = 0; i < parts.size(); ++i) {
        CAPTURE(i);
        REQUIRE(parts[i].begin != nullptr);
        CHECK(address(parts[i].begin) % 64 == 0);
        if (i > 0) CHECK(address(parts[i - 1].begin) + parts[i - 1].bytes <= address(parts[i].begin));
        std::vector<std::byte> content(parts[i].bytes);
        device->download(content.data(), parts[i].begin, content.size());
        CHECK(std::all_of(content.begin(), content.end(), [](std::byte b) { return b == std::byte{0}; }));
    }
    CHECK(address(parts.back().begin) + parts.back().bytes <= address(parts[0].begin) + workspace.bytes());
    CHECK(workspace.kv_bytes() == 2 * 2 * 17 * 8 * 2);
}

TEST_CASE("with a stream, published vectors have room for a replica in the other half of the L2") {
    namespace sm90 = device::sm90;
    const auto device = make_cpu_device(1);
    device::GridPlan plan = small_plan();
    plan.stream.n_stages = 8;
    const device::ModelConfig config = small_config();
    const Workspace workspace(*device, config, plan);
    device::KernelArgs args;
    workspace.fill(args);
    const auto address = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p); };
    const auto half = [&](const float* p) {
        return __builtin_popcount(static_cast<std::uint32_t>(address(p)) & sm90::kHalfBits) % 2;
    };
    CHECK(address(args.act.residual) % sm90::kReplicasAlignment == 0);
    std::vector<Part> parts = parts_of(args);
    for (const float* vector : {args.act.residual, args.act.qkv, args.act.heads, args.act.hidden}) {
        const float* replica = vector + sm90::kReplicaFloats;
        CHECK(address(vector) % sm90::kVectorAlignment == 0);
        CHECK(address(replica) == (address(vector) ^ sm90::kReplicaDistance));
        CHECK(half(replica) != half(vector));
        CHECK(half(vector + 2048) != half(vector));
        const auto part = std::find_if(parts.begin(), parts.end(), [&](const Part& p) { return p.begin == vector; });
        parts.push_back({replica, part->bytes});
    }
    std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.begin < b.begin; });
    for (std::size_t i = 1; i < parts.size(); ++i)
        CHECK(address(parts[i - 1].begin) + parts[i - 1].bytes <= address(parts[i].begin));
    CHECK(address(parts.back().begin) + parts.back().bytes <= address(parts[0].begin) + workspace.bytes());
}

TEST_CASE("a reset clears state and synchronisation words and keeps the cache") {
    const auto device = make_cpu_device(1);
    Workspace workspace(*device, small_config(), small_plan());
    device::KernelArgs args;
    workspace.fill(args);
    const std::uint32_t mark = 0xdeadbeef;
    for (void* word : std::initializer_list<void*>{args.kv.k, args.history, &args.state->position, &args.sync->abort,
                                                   &args.sync->arrivals, args.act.partials, args.act.residual})
        device->upload(word, &mark, sizeof mark);
    workspace.reset();
    const auto word = [&](const void* p) {
        std::uint32_t value = 1;
        device->download(&value, p, sizeof value);
        return value;
    };
    CHECK(word(args.kv.k) == mark);
    CHECK(word(args.history) == mark);
    CHECK(word(&args.state->position) == 0);
    CHECK(word(&args.sync->abort) == 0);
    CHECK(word(&args.sync->arrivals) == 0);
    CHECK(word(args.act.partials) == 0);
    CHECK(word(args.act.residual) == 0);
}

TEST_CASE("a workspace too large for the machine says what takes how much") {
    const auto device = make_cpu_device(1);
    device::ModelConfig config = small_config();
    config.n_layers = 1024;
    config.n_kv_heads = 128;
    config.n_heads = 128;
    config.max_seq_len = 1 << 24;
    try {
        const Workspace workspace(*device, config, small_plan());
        FAIL("it was allocated");
    } catch (const DeviceError& e) {
        const std::string text = e.what();
        CAPTURE(text);
        CHECK(text.find("16777216 positions") != std::string::npos);
        CHECK(text.find("-c") != std::string::npos);
    }
}

}  // namespace
}  // namespace vigil::host
