// What each step of a prefill takes: marks on the stream of ordinary launches, by CUDA events on a GPU and by the
// host's clock, waiting at each mark, elsewhere.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "host/device.h"

namespace vigil::bench {

class StepClock {
   public:
    explicit StepClock(host::Device& device);
    ~StepClock();
    StepClock(const StepClock&) = delete;
    StepClock& operator=(const StepClock&) = delete;

    // What is enqueued from here to the next mark is called `name`; an empty name ends the one before and begins none.
    void mark(const std::string& name);
    // Milliseconds from each named mark to the next, in order, since the last call. Waits for the device.
    std::vector<std::pair<std::string, double>> take();

   private:
    struct Marks;
    host::Device& device_;
    std::unique_ptr<Marks> marks_;
};

}  // namespace vigil::bench
