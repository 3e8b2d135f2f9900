// The third page of the door into device code (device/launch.h is the first): the read ceiling of a GPU's memory, which
// benchmarks hold the decode against.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vigil::device::cuda {

// Enqueues one kernel on `stream` (a cudaStream_t) whose `n_blocks` blocks of 512 threads read `bytes` of device memory
// `passes` times over with plain 16-byte loads and do nothing else. `bytes` is a multiple of 16, `sink` one word of
// device memory. Returns a cudaError_t, 0 for success. Declared always, defined in builds with CUDA.
int launch_read(const void* data, std::size_t bytes, std::int32_t passes, std::uint32_t* sink, std::int32_t n_blocks,
                void* stream);

// The same by bulk copies of kBulkPieceBytes into shared memory, `n_stages` (1 to kMaxBulkStages) of them under way in
// each block, for GPUs and builds that can_bulk_read(): bytes beyond the last whole piece are not read. `sink` becomes
// 1 if a copy did not arrive.
constexpr std::int32_t kBulkPieceBytes = 16 * 1024;
constexpr std::int32_t kMaxBulkStages = 12;
bool can_bulk_read();
int launch_bulk_read(const void* data, std::size_t bytes, std::int32_t passes, std::int32_t n_stages,
                     std::uint32_t* sink, std::int32_t n_blocks, void* stream);

}  // namespace vigil::device::cuda
