#include "host/cuda/staging.h"

#include <algorithm>
#include <cstring>

namespace vigil::host::cuda {

Staging::Staging(const Stream& stream) : stream_(stream) {}

void Staging::upload(void* to, const void* from, std::size_t bytes) {
    auto* target = static_cast<std::byte*>(to);
    const auto* source = static_cast<const std::byte*>(from);
    while (bytes > 0) {
        const std::size_t piece = std::min(bytes, kStageBytes);
        Stage& stage = stages_[next_.fetch_add(1, std::memory_order_relaxed) % kStages];
        const std::lock_guard lock(stage.mutex);
        stage.copied.synchronize();
        std::memcpy(stage.memory.get(), source, piece);
        check(cudaMemcpyAsync(target, stage.memory.get(), piece, cudaMemcpyHostToDevice, stream_.get()),
              "cudaMemcpyAsync to the GPU");
        stage.copied.record(stream_);
        target += piece;
        source += piece;
        bytes -= piece;
    }
}

}  // namespace vigil::host::cuda
