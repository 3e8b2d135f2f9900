#include "bench/prefill/step_clock.h"

#include <chrono>
#include <stdexcept>

#if VIGIL_HAS_EVENTS
#include <cuda_runtime.h>
#endif

namespace vigil::bench {

#if VIGIL_HAS_EVENTS

namespace {

void check(cudaError_t error, const char* call) {
    if (error != cudaSuccess) throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(error));
}

}  // namespace

struct StepClock::Marks {
    std::vector<cudaEvent_t> events;  // reused
    std::vector<std::string> names;

    ~Marks() {
        for (cudaEvent_t event : events) cudaEventDestroy(event);
    }
    void add(host::Device& device, const std::string& name) {
        if (names.size() == events.size()) {
            events.emplace_back();
            check(cudaEventCreate(&events.back()), "cudaEventCreate");
        }
        check(cudaEventRecord(events[names.size()], static_cast<cudaStream_t>(device.launch_stream())),
              "cudaEventRecord");
        names.push_back(name);
    }
    double between(std::size_t mark) const {
        float ms = 0.0f;
        check(cudaEventElapsedTime(&ms, events[mark], events[mark + 1]), "cudaEventElapsedTime");
        return static_cast<double>(ms);
    }
};

#else

struct StepClock::Marks {
    std::vector<std::chrono::steady_clock::time_point> times;
    std::vector<std::string> names;

    void add(host::Device& device, const std::string& name) {
        device.synchronize();
        times.resize(names.size());
        times.push_back(std::chrono::steady_clock::now());
        names.push_back(name);
    }
    double between(std::size_t mark) const {
        return std::chrono::duration<double, std::milli>(times[mark + 1] - times[mark]).count();
    }
};

#endif

StepClock::StepClock(host::Device& device) : device_(device), marks_(std::make_unique<Marks>()) {}
StepClock::~StepClock() = default;

void StepClock::mark(const std::string& name) {
    marks_->add(device_, name);
}

std::vector<std::pair<std::string, double>> StepClock::take() {
    device_.synchronize();
    std::vector<std::pair<std::string, double>> steps;
    for (std::size_t i = 0; i + 1 < marks_->names.size(); ++i)
        if (!marks_->names[i].empty()) steps.emplace_back(marks_->names[i], marks_->between(i));
    marks_->names.clear();
    return steps;
}

}  // namespace vigil::bench
