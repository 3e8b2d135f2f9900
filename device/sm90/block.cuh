// A block of the Hopper path: 16 warps that consume, one thread that keeps the stream going, and around it four warps
// that lend their registers.
#pragma once

#include "device/sm90/attention.cuh"
#include "device/sm90/layer.cuh"

namespace vigil::device::sm90 {

// All threads make the list of runs: list(a team). Then the block splits: consume(the Team's memory) runs in the first
// 16 warps, and one thread behind them keeps the stream going.
template <class List, class Consume>
VIGIL_DEVICE void run_block(const KernelArgs& args, char* shared, bool one_token, List&& list, Consume&& consume) {
    auto* control = reinterpret_cast<StreamControl*>(shared);
    if (thread_index() == 0) init_stream(shared, args.plan);
    Team lister;
    lister.shared = shared + sizeof(StreamControl);
    list(lister);
    block_barrier();
    if (thread_index() >= kConsumers) {
        give_up_registers<kProducerRegisters>();
        if (thread_index() == kConsumers) Producer(control, args.deadline_ns).run(one_token);
    } else {
        take_registers<kConsumerRegisters>();
        consume(shared + sizeof(StreamControl));
        named_barrier<kConsumers>();  // nobody is in the middle of a run
        if (thread_index() == 0) say_stop(control);
    }
}

}  // namespace vigil::device::sm90
