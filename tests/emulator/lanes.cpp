#include "tests/emulator/lanes.h"

#include <algorithm>
#include <cstdlib>
#include <fmt/format.h>
#include <stdexcept>
#include <string>

namespace vigil::emulator {
namespace {

constexpr std::size_t kStackBytes = 256 * 1024;
constexpr std::size_t kAlignment = 1024;

struct PendingCopy {
    void* to;
    const void* from;
    std::size_t bytes;
    std::function<void()> then;
};

thread_local Lane* current = nullptr;
thread_local std::vector<PendingCopy>* pending = nullptr;

// Half of the copies under way, in random order.
void complete_some(std::vector<PendingCopy>& copies, std::mt19937& random) {
    for (std::size_t left = copies.size(); left > 0; --left) {
        if (random() % 2 == 0) continue;
        const std::size_t i = random() % copies.size();
        const PendingCopy copy = copies[i];
        copies[i] = copies.back();
        copies.pop_back();
        std::memcpy(copy.to, copy.from, copy.bytes);
        copy.then();
    }
}

// Lets a warp's lanes run, on and on as long as they wait for each other only: one that polls lets other warps run.
// False if none could.
bool run_warp(std::vector<std::unique_ptr<Lane>>& lanes) {
    bool ran = false;
    bool polls = false;
    for (bool again = true; again && !polls;) {
        again = false;
        for (std::size_t i = 0; i < lanes.size();) {
            Lane& lane = *lanes[i];
            if (lane.waits_for != nullptr && *lane.waits_for == lane.as_long_as) {
                ++i;
                continue;
            }
            ran = true;
            current = &lane;
            lane.fiber = std::move(lane.fiber).resume();
            if (!lane.fiber) {
                lanes[i] = std::move(lanes.back());
                lanes.pop_back();
                continue;
            }
            if (lane.waits_for == &lane.warp->collectives) again = true;
            if (lane.waits_for == nullptr) polls = true;
            ++i;
        }
    }
    return ran;
}

}  // namespace

Lane& self() {
    return *current;
}

void yield() {
    Lane* lane = current;
    lane->back = std::move(lane->back).resume();
}

void wait_while(const std::uint64_t* word, std::uint64_t value) {
    while (*word == value) {
        current->waits_for = word;
        current->as_long_as = value;
        yield();
        current->waits_for = nullptr;
    }
}

Collected collect(const std::uint32_t* mine, int words) {
    Warp& warp = *current->warp;
    std::memcpy(warp.contributed[current->thread % kWarpSize], mine, static_cast<std::size_t>(words) * sizeof *mine);
    if (++warp.arrived == kWarpSize) {
        std::memcpy(warp.collected, warp.contributed, sizeof warp.collected);
        warp.arrived = 0;
        ++warp.collectives;
    } else {
        wait_while(&warp.collectives, warp.collectives);
    }
    return warp.collected;
}

void barrier(int name, int n_threads) {
    NamedBarrier& b = current->block->barriers[name];
    if (++b.arrived == n_threads) {
        b.arrived = 0;
        ++b.passed;
    } else {
        wait_while(&b.passed, b.passed);
    }
}

void copy_later(void* to, const void* from, std::size_t bytes, std::function<void()> then) {
    pending->push_back({to, from, bytes, std::move(then)});
}

void run_grid(int n_blocks, int n_threads, std::size_t shared_bytes, const std::function<void(char* shared)>& kernel) {
    std::vector<PendingCopy> copies;
    pending = &copies;
    std::mt19937 random(1);
    std::vector<std::unique_ptr<Block>> blocks;
    std::vector<std::vector<std::unique_ptr<Lane>>> warps;  // of all blocks
    const std::size_t rounded = (shared_bytes + kAlignment - 1) / kAlignment * kAlignment;
    for (int b = 0; b < n_blocks; ++b) {
        auto& block = blocks.emplace_back(std::make_unique<Block>());
        block->index = b;
        block->n_blocks = n_blocks;
        block->shared = static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded));
        std::memset(block->shared, 0, rounded);
        block->warps.resize(static_cast<std::size_t>(n_threads / kWarpSize));
        for (int t = 0; t < n_threads; ++t) {
            if (t % kWarpSize == 0) warps.emplace_back();
            auto& lane = warps.back().emplace_back(std::make_unique<Lane>());
            lane->thread = t;
            lane->block = block.get();
            lane->warp = &block->warps[static_cast<std::size_t>(t / kWarpSize)];
            lane->fiber = boost::context::fiber(std::allocator_arg, boost::context::fixedsize_stack(kStackBytes),
                                                [&kernel, l = lane.get()](boost::context::fiber&& back) {
                                                    l->back = std::move(back);
                                                    kernel(reinterpret_cast<char*>(l->block->shared));
                                                    return std::move(l->back);
                                                });
        }
    }
    bool stuck = false;
    while (!stuck && std::ranges::any_of(warps, [](const auto& warp) { return !warp.empty(); })) {
        stuck = copies.empty();
        for (auto& warp : warps)
            if (run_warp(warp)) stuck = false;
        complete_some(copies, random);
    }
    if (stuck) {
        std::string text = "nobody can go on:";
        for (auto& warp : warps)
            for (auto& lane : warp) {
                text += fmt::format(" {}/{} {}", lane->block->index, lane->thread,
                                    lane->waits_for == &lane->warp->collectives ? "warp," : "block,");
                // Their stacks can't be unwound: they wait inside. Better leaked than run on.
                static_cast<void>(lane.release());
            }
        for (auto& block : blocks) static_cast<void>(block.release());
        throw std::runtime_error(text + " as block/thread and what it waits for");
    }
    for (const auto& block : blocks) std::free(block->shared);
}

}  // namespace vigil::emulator
