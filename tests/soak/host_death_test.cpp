// What becomes of the kernel when its host dies, is stopped, falls silent or does not read its events: it leaves the
// machine to others within 3 s, and loses nothing that a host which comes back still wants.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <doctest/doctest.h>
#include <string>
#include <thread>
#include <vector>

#include "tests/patience.h"
#include "tests/phases/test_model.h"
#include "tests/reference/harness.h"
#include "tests/soak/child.h"
#include "tests/soak/play_host.h"

namespace {

using namespace std::chrono_literals;
using vigil::phases::small_spec;
using vigil::phases::TestModel;
using vigil::reference::Harness;
using vigil::reference::on_cuda;
using vigil::reference::skip_without_device;
using vigil::reference::test_device;
using vigil::ring::Fault;
using vigil::soak::Child;
using vigil::soak::finish;
using vigil::soak::program_beside_this;
using vigil::soak::submit;
using vigil::test::kPatience;
using Clock = std::chrono::steady_clock;

constexpr double kMostSeconds = 3.0 * vigil::test::kSlowdown;
constexpr int kTokens = 200;
const std::vector<std::int32_t> kPrompt{5, 17, 301, 42};

double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
}

Child start_child(const char* mode, const TestModel& model) {
    return Child({program_beside_this("soak_child"), mode, model.file().path().string()});
}

// How long a new process takes until it has run a job on a grid of its own.
double seconds_to_run_once(const TestModel& model) {
    const auto begin = Clock::now();
    Child child = start_child("once", model);
    REQUIRE(child.wait_for_line("ran", kPatience));
    const double seconds = seconds_since(begin);
    CHECK(child.wait() == 0);
    return seconds;
}

// Processes that compute on a GPU, as the driver lists them; empty where it names none, as in some containers.
std::vector<std::string> compute_processes() {
    if (!on_cuda()) return {};
    Child query({"/bin/sh", "-c", "nvidia-smi --query-compute-apps=pid --format=csv,noheader"});
    std::vector<std::string> pids;
    while (auto line = query.read_line(kPatience)) pids.push_back(*line);
    return pids;
}

std::vector<std::int32_t> undisturbed_tokens(const TestModel& model) {
    Harness harness(model.file(), test_device(), {});
    harness.launch();
    submit(harness, kPrompt, kTokens);
    return finish(harness);
}

}  // namespace

TEST_CASE("the GPU is free for others within 3 s of the host's SIGKILL") {
    skip_without_device();
    const TestModel model(small_spec());
    const double alone = seconds_to_run_once(model);

    Child child = start_child("endless", model);
    REQUIRE(child.wait_for_line("generating", kPatience));
    const auto before = compute_processes();
    const std::string pid = std::to_string(child.pid());
    const auto killed = Clock::now();
    child.signal(SIGKILL);
    const double to_run = seconds_to_run_once(model);
    const double since_kill = seconds_since(killed);
    CHECK(child.wait() == 128 + SIGKILL);

    std::printf("SIGKILL: another process had run %.2f s after it; it needs %.2f s on an idle machine\n", since_kill,
                alone);
    // What any new process needs to start is not the dead one's doing.
    CHECK(to_run - alone <= kMostSeconds);

    if (std::ranges::find(before, pid) != before.end())
        CHECK(std::ranges::count(compute_processes(), pid) == 0);
    else if (on_cuda())
        CHECK(compute_processes().size() < std::max<std::size_t>(1, before.size()));
}

TEST_CASE("a host stopped for longer than its lease finds its kernel gone and loses nothing") {
    skip_without_device();
    const TestModel model(small_spec());
    Child child = start_child("endless", model);
    REQUIRE(child.wait_for_line("generating", kPatience));
    child.signal(SIGSTOP);
    std::this_thread::sleep_for(2500ms);
    if (on_cuda()) {
        // While the host stands still another process has the GPU.
        const double seconds = seconds_to_run_once(model);
        std::printf("SIGSTOP: 2.5 s after it another process had run within %.2f s\n", seconds);
    }
    child.signal(SIGCONT);
    std::vector<std::string> lines;
    if (on_cuda()) {
        CHECK(child.wait_for_line("left: host gone", kPatience, &lines));
        CHECK(child.wait_for_line("unchanged", kPatience, &lines));
    } else {
        // The CPU's blocks are threads of the stopped host: whether one sees the lease before it is renewed is chance.
        std::this_thread::sleep_for(500ms);
        while (auto line = child.read_line(100ms)) lines.push_back(*line);
    }
    for (const std::string& line : lines) CHECK(line != "the tokens differ");
    child.signal(SIGKILL);
    CHECK(child.wait() == 128 + SIGKILL);  // it had not ended by itself
}

TEST_CASE("the kernel leaves a silent host when the lease runs out and goes on where it was") {
    const TestModel model(small_spec());
    const auto expected = undisturbed_tokens(model);
    // The one runs out when the kernel has long been idle, the other in the middle of the job.
    for (const auto lease : {300ms, 5ms}) {
        Harness harness(model.file(), test_device(), {.lease = lease});
        submit(harness, kPrompt, kTokens);
        const auto begin = Clock::now();
        harness.launch();
        REQUIRE(harness.wait_until_left(kPatience));
        const double seconds = seconds_since(begin);
        std::printf("silent host, lease of %d ms: the kernel had left after %.3f s with %u events unread\n",
                    static_cast<int>(lease.count()), seconds, harness.unread_events());
        CHECK(harness.fault() == Fault::kHostGone);
        CHECK(seconds <= std::chrono::duration<double>(lease).count() + kMostSeconds);
        CHECK(finish(harness) == expected);
    }
}

TEST_CASE("the kernel leaves a full event ring at its deadline and goes on once there is room") {
    constexpr std::uint32_t kCapacity = 32;
    const TestModel model(small_spec());
    const auto expected = undisturbed_tokens(model);
    Harness harness(model.file(), test_device(), {.event_capacity = kCapacity, .deadline = 300ms});
    submit(harness, kPrompt, kTokens);
    const auto begin = Clock::now();
    harness.launch();
    REQUIRE(harness.wait_until_left(kPatience));
    const double seconds = seconds_since(begin);
    std::printf("full event ring, deadline of 0.3 s: the kernel had left after %.2f s with %u events unread\n", seconds,
                harness.unread_events());
    CHECK(harness.fault() == Fault::kEventRingFull);
    CHECK(harness.unread_events() >= kCapacity - 2);  // the kernel wants room for a token and the job's end
    CHECK(seconds <= 0.3 + kMostSeconds);

    int n_left = 0;
    CHECK(finish(harness, [&](Fault) { ++n_left; }) == expected);
    CHECK(n_left == 1);  // and not again while its events are read
}
