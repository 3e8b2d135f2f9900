// A block of the Hopper path: 16 warps that consume, one thread that keeps the stream going, and around it four warps
// that lend their registers.
#pragma once

#include "device/sm90/attention.cuh"
#include "device/sm90/layer.cuh"

namespace vigil::device::sm90 {

// Splits the block: `consume(the Team's memory)` runs in the first 16 warps, and one thread behind them keeps the
// stream going.
template <class Consume>
VIGIL_DEVICE void run_block(const KernelArgs& args, char* shared, bool one_token, Consume&& consume) {
    auto* control = reinterpret_cast<StreamControl*>(shared);
    if (thread_index() == 0) init_stream(shared, args.plan);
    block_barrier();
    if (thread_index() >= kConsumers) {
        give_up_registers<kProducerRegisters>();
        if (thread_index() == kConsumers) Producer(control, args.deadline_ns).run(one_token);
    } else {
        take_registers<kConsumerRegisters>();
        consume(shared + sizeof(StreamControl));
        named_barrier<kConsumers>();  // nobody is in the middle of a run
        if (thread_index() == 0) store_release_shared(&control->stop, 1);
    }
}

}  // namespace vigil::device::sm90
