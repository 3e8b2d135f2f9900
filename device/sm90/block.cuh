// A block of the Hopper path: 16 warps that consume, and of four that lend their registers one thread that keeps the
// stream going and one warp that works out norms.
#pragma once

#include "device/sm90/attention.cuh"
#include "device/sm90/layer.cuh"
#include "device/sm90/norm.cuh"
#include "device/sm90/replicas.cuh"

namespace vigil::device::sm90 {

// What a kernel goes through: tokens, until it is told to leave, or one step of a token.
enum class Extent { kTokens, kStep, kNormedStep };
constexpr VIGIL_HD Extent step_extent(ring::Phase phase) {
    const bool normed = phase == ring::Phase::kQkv || phase == ring::Phase::kGateUp || phase == ring::Phase::kLogits;
    return normed ? Extent::kNormedStep : Extent::kStep;
}

// All threads make the list of runs: list(a team). Then the block splits: consume(the Team's memory) runs in the first
// 16 warps; the first thread behind them is the producer, and the last warp the norm's.
template <class List, class Consume>
VIGIL_DEVICE void run_block(const KernelArgs& args, char* shared, Extent extent, List&& list, Consume&& consume) {
    auto* control = reinterpret_cast<StreamControl*>(shared);
    if (thread_index() == 0) init_stream(shared, args.plan);
    Team lister;
    lister.shared = shared + sizeof(StreamControl);
    list(lister);
    block_barrier();
    if (thread_index() >= kConsumers) {
        give_up_registers<kProducerRegisters>();
        // The same in all lanes, which the compiler must know: a producer that may share its warp's way with others has
        // no use for the uniform registers, and is a third slower.
        const int warp = __shfl_sync(~0u, thread_index() / 32, 0);
        if (warp == kThreads / 32 - 1) {
            if (extent != Extent::kStep) work_out_norm_scales(control, args.config, extent == Extent::kNormedStep);
        } else if (thread_index() == kConsumers) {
            Producer(control, args.deadline_ns).run(extent != Extent::kTokens);
        }
    } else {
        take_registers<kConsumerRegisters>();
        if (extent == Extent::kTokens) {
            // Here and not before the block splits, where a second branch would be as bad as that above.
            if (thread_index() == 0) {
                float* word = args.act.residual + 4 * lister.block();
                control->near_half = find_near_half(word, static_cast<std::uint32_t>(args.config.n_layers) >> 31);
            }
            named_barrier<kConsumers>();
        }
        consume(shared + sizeof(StreamControl));
        named_barrier<kConsumers>();  // nobody is in the middle of a run
        if (thread_index() == 0) say_stop(control);
    }
}

}  // namespace vigil::device::sm90
