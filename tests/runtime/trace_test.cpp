// The timeline: where records stand in memory, and what a reader of the JSON finds.
#include "runtime/trace.h"

#include <cstdint>
#include <doctest/doctest.h>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "device/launch.h"
#include "host/device.h"

using vigil::Trace;
using vigil::device::TraceRecord;
using vigil::ring::Phase;
using Json = nlohmann::json;

namespace {

TraceRecord record(Phase phase, std::uint64_t begin_ns, std::uint64_t end_ns, std::uint32_t wait_ns = 0) {
    return {.begin_ns = begin_ns,
            .end_ns = end_ns,
            .wait_ns = wait_ns,
            .token = 0,
            .layer = -1,
            .phase = static_cast<std::uint16_t>(phase),
            .sm = 0};
}

TraceRecord record_of(std::int32_t token, Phase phase, std::uint64_t begin_ns, std::uint64_t end_ns) {
    TraceRecord r = record(phase, begin_ns, end_ns);
    r.token = token;
    return r;
}

std::string text_of(const std::vector<Trace>& traces) {
    std::string text;
    vigil::write_chrome_trace(traces, [&text](std::string_view piece) { text += piece; });
    return text;
}

std::vector<Json> events_of(const std::vector<Trace>& traces) {
    const Json json = Json::parse(text_of(traces));
    CHECK(json.at("displayTimeUnit") == "ns");
    return json.at("traceEvents").get<std::vector<Json>>();
}

std::vector<Json> slices(const std::vector<Json>& events, const std::string& category) {
    std::vector<Json> found;
    for (const Json& event : events)
        if (event.at("ph") == "X" && event.at("cat") == category) found.push_back(event);
    return found;
}

std::map<int, std::string> row_names(const std::vector<Json>& events) {
    std::map<int, std::string> names;
    for (const Json& event : events)
        if (event.at("name") == "thread_name") names[event.at("tid").get<int>()] = event.at("args").at("name");
    return names;
}

vigil::device::KernelArgs small_args() {
    vigil::device::KernelArgs args;
    args.config.n_layers = 3;
    args.plan.n_blocks = 4;
    return args;
}

}  // namespace

TEST_CASE("a phase is a slice with layer and token, its waiting time a slice inside of it") {
    TraceRecord qkv = record(Phase::kQkv, 5'000, 7'500, 1'250);
    qkv.layer = 11;
    qkv.token = 64;
    const auto events = events_of({{"GPU", {{record(Phase::kEmbed, 4'000, 5'000), qkv}}}});
    const auto phases = slices(events, "phase");
    REQUIRE(phases.size() == 2);
    CHECK(phases[0].at("name") == "embed");
    CHECK(phases[0].at("ts") == 0.0);
    CHECK(phases[0].at("args").at("layer") == -1);
    CHECK(phases[1].at("name") == "qkv");
    CHECK(phases[1].at("ts") == doctest::Approx(1.0));
    CHECK(phases[1].at("dur") == doctest::Approx(2.5));
    CHECK(phases[1].at("args") == Json{{"layer", 11}, {"token", 64}});
    const auto waits = slices(events, "wait");
    REQUIRE(waits.size() == 1);  // none for a phase that did not wait
    CHECK(waits[0].at("ts") == phases[1].at("ts"));
    CHECK(waits[0].at("dur") == doctest::Approx(1.25));
    CHECK(waits[0].at("tid") == phases[1].at("tid"));
}

TEST_CASE("nanoseconds survive beside a clock of years") {
    constexpr std::uint64_t kNow = 1'763'720'000'123'456'789;
    const auto events =
        events_of({{"GPU", {{record(Phase::kEmbed, kNow, kNow + 1), record(Phase::kQkv, kNow + 1, kNow + 4)}}}});
    const auto phases = slices(events, "phase");
    CHECK(phases[0].at("dur") == doctest::Approx(0.001));
    CHECK(phases[1].at("ts") == doctest::Approx(0.001));
    CHECK(phases[1].at("dur") == doctest::Approx(0.003));
}

TEST_CASE("a record that contradicts itself gives no slice of negative length or beyond its phase") {
    const auto events =
        events_of({{"GPU", {{record(Phase::kEmbed, 1'000, 2'000, 9'000), record(Phase::kQkv, 3'000, 2'500, 100)}}}});
    CHECK(slices(events, "wait").size() == 1);
    CHECK(slices(events, "wait")[0].at("dur") == doctest::Approx(1.0));
    CHECK(slices(events, "phase")[1].at("dur") == 0.0);
}

TEST_CASE("each block has a row named by its multiprocessor, or by itself if it moves about") {
    TraceRecord elsewhere = record(Phase::kEmbed, 10, 20);
    elsewhere.sm = 77;
    TraceRecord moved = record(Phase::kQkv, 20, 30);
    moved.sm = 3;
    const auto names = row_names(events_of({{"GPU", {{elsewhere}, {}, {elsewhere, moved}}}}));
    CHECK(names == std::map<int, std::string>{{0, "tokens"}, {1, "SM 77, block 0"}, {3, "block 2"}});
}

TEST_CASE("rows stand in the order of the multiprocessors, below the tokens") {
    TraceRecord high = record(Phase::kEmbed, 10, 20);
    high.sm = 9;
    const TraceRecord low = record(Phase::kEmbed, 10, 20);
    std::map<int, int> order;
    for (const Json& event : events_of({{"GPU", {{high}, {low}}}}))
        if (event.at("name") == "thread_sort_index") order[event.at("tid")] = event.at("args").at("sort_index");
    CHECK(order[0] < order[2]);
    CHECK(order[2] < order[1]);
}

TEST_CASE("each trace is a process of its own that begins at 0") {
    const auto events = events_of(
        {{"one \"quoted\"", {{record(Phase::kEmbed, 500, 600)}}}, {"two", {{record(Phase::kQkv, 90'000, 90'100)}}}});
    std::vector<std::string> names;
    std::set<int> processes;
    for (const Json& event : events) {
        processes.insert(event.at("pid").get<int>());
        if (event.at("name") == "process_name") names.push_back(event.at("args").at("name"));
    }
    CHECK(names == std::vector<std::string>{"one \"quoted\"", "two"});
    CHECK(processes.size() == 2);
    for (const Json& slice : slices(events, "phase")) CHECK(slice.at("ts") == 0.0);
}

TEST_CASE("the tokens' row covers them from the first block to the last, without overlap") {
    const auto events =
        events_of({{"GPU",
                    {{record_of(7, Phase::kEmbed, 1'000, 2'000), record_of(8, Phase::kEmbed, 2'000, 3'000)},
                     {record_of(7, Phase::kEmbed, 1'500, 2'600), record_of(8, Phase::kEmbed, 2'600, 3'900)}}}});
    const auto tokens = slices(events, "token");
    REQUIRE(tokens.size() == 2);
    CHECK(tokens[0].at("name") == "token 7");
    CHECK(tokens[0].at("ts") == 0.0);
    CHECK(tokens[0].at("dur") == doctest::Approx(1.0));
    CHECK(tokens[1].at("ts") == doctest::Approx(1.0));
    CHECK(tokens[1].at("dur") == doctest::Approx(1.9));
}

TEST_CASE("a trace without records is still a file that can be read") {
    CHECK(Trace{}.empty());
    CHECK(Trace{"GPU", {{}, {}}}.empty());
    CHECK(events_of({{"GPU", {{}, {}}}}).size() == 1);  // the process has its name
    CHECK(events_of({}).empty());
}

TEST_CASE("a long trace is handed out in pieces that make one JSON text") {
    Trace trace{"GPU", {{}}};
    for (std::uint64_t i = 0; i < 5'000; ++i) trace.records[0].push_back(record(Phase::kQkv, 10 * i, 10 * i + 10, 5));
    int pieces = 0;
    std::string text;
    vigil::write_chrome_trace(std::vector{trace}, [&](std::string_view piece) {
        ++pieces;
        text += piece;
    });
    CHECK(pieces > 3);
    CHECK(Json::parse(text).at("traceEvents").size() > 10'000);
}

TEST_CASE("phase times are means over blocks and tokens, of all layers together") {
    Trace trace{"GPU", {{}, {}, {}}};  // the last block did nothing
    for (std::size_t block = 0; block < 2; ++block)
        for (std::int32_t token = 4; token < 6; ++token)
            for (std::int16_t layer = 0; layer < 3; ++layer) {
                TraceRecord r = record_of(token, Phase::kDown, 100, block == 0 ? 200 : 400);
                r.layer = layer;
                r.wait_ns = 50;
                trace.records[block].push_back(r);
            }
    trace.records[0].push_back(record_of(5, Phase::kEmbed, 0, 40));
    const auto times = vigil::phase_times(trace);
    REQUIRE(times.size() == 2);
    CHECK(times[0].phase == Phase::kEmbed);
    CHECK(times[0].total_ns == doctest::Approx(10.0));
    CHECK(times[1].phase == Phase::kDown);
    CHECK(times[1].total_ns == doctest::Approx(600.0));
    CHECK(times[1].wait_ns == doctest::Approx(150.0));
    CHECK(vigil::phase_times(Trace{}).empty());
}

TEST_CASE("what blocks record is read block by block, in order, and nothing else") {
    const auto device = vigil::host::make_cpu_device(1);
    auto args = small_args();
    vigil::TraceMemory memory(*device, args, {.first_token = 16, .n_tokens = 2});
    CHECK(args.trace_capacity >= vigil::device::n_steps(args.config));
    CHECK(trace_record(args, 0, 15, 0) == nullptr);
    CHECK(trace_record(args, 0, 18, 0) == nullptr);

    // Every slot of every block and token is a place of its own.
    std::set<TraceRecord*> places;
    for (std::int32_t block = 0; block < args.plan.n_blocks; ++block)
        for (std::int32_t token = 16; token < 18; ++token)
            for (std::int32_t slot = 0; slot < args.trace_capacity; ++slot)
                places.insert(trace_record(args, block, token, slot));
    CHECK(places.size() == static_cast<std::size_t>(args.plan.n_blocks * 2 * args.trace_capacity));

    *trace_record(args, 3, 17, 0) = record_of(17, Phase::kDown, 300, 400);
    *trace_record(args, 3, 16, args.trace_capacity - 1) = record_of(16, Phase::kQkv, 200, 300);
    *trace_record(args, 3, 16, 0) = record_of(16, Phase::kEmbed, 100, 200);
    const auto records = memory.read();
    REQUIRE(records.size() == 4);
    for (const std::size_t block : {0u, 1u, 2u}) CHECK(records[block].empty());
    REQUIRE(records[3].size() == 3);
    CHECK(records[3][0].begin_ns == 100);
    CHECK(records[3][1].begin_ns == 200);
    CHECK(records[3][2].token == 17);

    memory.clear();
    for (const auto& block : memory.read()) CHECK(block.empty());
}

TEST_CASE("without tokens to record nothing is allocated, and the kernel is told so") {
    const auto device = vigil::host::make_cpu_device(1);
    auto args = small_args();
    vigil::TraceMemory memory(*device, args, {});
    CHECK(args.trace == nullptr);
    CHECK(trace_record(args, 0, 0, 0) == nullptr);
    memory.clear();
    CHECK(memory.read().empty());
}

TEST_CASE("a trace of negative tokens is refused with the numbers") {
    const auto device = vigil::host::make_cpu_device(1);
    auto args = small_args();
    const auto make = [&](std::int32_t first, std::int32_t n) {
        vigil::TraceMemory(*device, args, {.first_token = first, .n_tokens = n});
    };
    CHECK_THROWS_WITH_AS(make(-1, 3), doctest::Contains("token -1"), vigil::host::DeviceError);
    CHECK_THROWS_WITH_AS(make(0, -3), doctest::Contains("-3 tokens"), vigil::host::DeviceError);
}
