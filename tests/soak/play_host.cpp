#include "tests/soak/play_host.h"

#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

namespace vigil::soak {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kSilence{60};
constexpr std::chrono::microseconds kNap{50};

}  // namespace

void submit(reference::Harness& harness, std::span<const std::int32_t> prompt, int max_new_tokens) {
    ring::DecodeJob job = harness.make_job(prompt, 0, max_new_tokens);
    job.flags = ring::kJobIgnoreEos;
    harness.submit(job, prompt);
}

std::vector<std::int32_t> finish(reference::Harness& harness, const std::function<void(ring::Fault)>& on_left) {
    std::vector<std::int32_t> tokens;
    auto last_event = Clock::now();
    for (;;) {
        harness.renew_lease();
        // Asked before the ring is read: what a kernel wrote that has left is all there.
        const bool left = !harness.resident();
        for (const ring::TokenEvent& event : harness.take_events()) {
            if (event.kind == ring::EventKind::kFinished) return tokens;
            tokens.push_back(event.token);
            last_event = Clock::now();
        }
        if (left) {
            if (on_left) on_left(harness.fault());
            harness.launch();
        } else if (Clock::now() > last_event + kSilence) {
            throw std::runtime_error("the kernel fell silent after " + std::to_string(tokens.size()) + " tokens");
        }
        std::this_thread::sleep_for(kNap);
    }
}

}  // namespace vigil::soak
