// What one rendering may use. A template is somebody else's program: each bound ends it with an error, never with a
// hang, an overflowing stack or a machine out of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <fmt/format.h>

#include "host/chat/jinja/error.h"

namespace vigil::jinja {

struct Limits {
    std::uint64_t steps = 4'000'000;     // expressions, statements and list elements touched
    std::uint64_t bytes = 256ull << 20;  // of strings and lists made, all together (also bounds time)
    std::size_t output = 64ull << 20;    // bytes of the rendered text
    int depth = 600;                     // nested expressions, statements and macro calls, all together
};
// Lists within lists: values are printed, compared and freed by recursion.
inline constexpr int deepest_value = 100;
inline constexpr std::int64_t longest_range = 100'000;  // as Jinja's sandbox has it

class Budget {
   public:
    explicit Budget(const Limits& limits) : limits_(limits) {}

    void step(std::uint64_t count = 1) {
        steps_ += count;
        if (steps_ > limits_.steps) throw Error(fmt::format("the template takes more than {} steps", limits_.steps));
    }
    // For work on `bytes` bytes that makes nothing.
    void touch(std::uint64_t bytes) { step(bytes / 256); }
    // Before the allocation, so that an oversized one is never tried.
    void allocate(std::uint64_t bytes) {
        bytes_ += bytes;
        if (bytes > limits_.bytes || bytes_ > limits_.bytes) {
            throw Error(fmt::format("the template makes more than {} bytes of values", limits_.bytes));
        }
    }
    void check_output(std::size_t bytes) const {
        if (bytes > limits_.output) {
            throw Error(fmt::format("the rendered text is longer than {} bytes", limits_.output));
        }
    }
    void enter() {
        if (++depth_ > limits_.depth) {
            --depth_;
            throw Error(fmt::format("the template nests or recurses deeper than {} levels", limits_.depth));
        }
    }
    void leave() noexcept { --depth_; }

    std::uint64_t steps() const noexcept { return steps_; }

   private:
    Limits limits_;
    std::uint64_t steps_ = 0;
    std::uint64_t bytes_ = 0;
    int depth_ = 0;
};

// One level of depth, for as long as it lives.
class Level {
   public:
    explicit Level(Budget& budget) : budget_(budget) { budget_.enter(); }
    ~Level() { budget_.leave(); }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Budget& budget_;
};

}  // namespace vigil::jinja
