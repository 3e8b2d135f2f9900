// Copies from ordinary host memory to the GPU through page-locked staging buffers, several of them in turn, so that
// filling one overlaps the copies from the others.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>

#include "host/cuda/handles.h"

namespace vigil::host::cuda {

class Staging {
   public:
    explicit Staging(const Stream& stream);

    // Returns when `from` may be reused; the copy itself is complete when the stream is. May be called from several
    // threads at once.
    void upload(void* to, const void* from, std::size_t bytes);

   private:
    static constexpr std::size_t kStageBytes = std::size_t{4} << 20;
    static constexpr std::size_t kStages = 4;

    struct Stage {
        PinnedBuffer memory{kStageBytes};
        Event copied;
        std::mutex mutex;  // from the wait for the copy before until the next copy is enqueued
    };

    const Stream& stream_;
    std::array<Stage, kStages> stages_;
    std::atomic<std::size_t> next_{0};
};

}  // namespace vigil::host::cuda
