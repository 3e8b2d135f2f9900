// The only door from host code into device code.
//
// A token is a fixed list of steps (phases, the layer's repeated per layer). The resident kernel runs them in a
// loop; `launch` and `graph` dispatch run the same phases as one kernel each. The CPU machine runs the same
// source on host threads, one per block.
#pragma once

#include <cstdint>

#include "device/model.h"

namespace vigil::device {

struct Step {
    ring::Phase phase;
    std::int32_t layer;
};

// Steps of one token: directive, embed, six per layer, logits, sample.
std::int32_t n_steps(const ModelConfig& config);
Step step_at(const ModelConfig& config, std::int32_t index);

// Bytes of block-shared scratch that the phases want for this model; with fewer (at least `minimum`) long
// vectors are read from device memory instead.
struct SharedNeed {
    std::int32_t minimum;
    std::int32_t wanted;
};
SharedNeed shared_need(const ModelConfig& config, std::int32_t n_warps);
// Of a block's shared memory, the bytes beside the phases' area: what a plan without a stream adds to area_bytes.
std::int32_t scratch_bytes();
// What the phases' area must hold on a GPU beside their inputs.
std::int32_t phase_area_bytes(const ModelConfig& config);
// Completes a plan whose n_blocks is set for a model in tiles, with at most `shared_bytes` per block: the phases' area,
// the stream, shared_bytes. False, and the plan unchanged, if it does not fit.
bool plan_stream(const ModelConfig& config, std::int32_t shared_bytes, GridPlan& plan);
// The most blocks that can work on a model: each must own a row of every vector that all blocks read (see
// seams/machine.cuh).
std::int32_t max_blocks(const ModelConfig& config);

// ---- CPU machine ------------------------------------------------------------------------------------------

namespace cpu {

// The instruction sets this build carries for the CPU machine, best first; `isa()` is the one in use.
const char* isa();
// Forces an instruction set by name ("avx2", "baseline"); false if the CPU or the build lacks it.
bool select_isa(const char* name);

// Runs block `block` of the resident loop until the kernel parks. Call on plan.n_blocks threads at once.
// `scratch` is that block's shared memory, plan.shared_bytes, 128-byte aligned.
void run_resident(const KernelArgs& args, std::int32_t block, void* scratch);
// Runs block `block` of one step. All blocks of a step must return before the next step begins.
void run_step(const KernelArgs& args, std::int32_t step, std::int32_t block, void* scratch);

}  // namespace cpu

// ---- CUDA machines ----------------------------------------------------------------------------------------
// `stream` is a cudaStream_t; errors are cudaError_t values, 0 for success. Declared always, defined in builds
// with CUDA (has_cuda()).

namespace cuda {

constexpr std::int32_t kThreadsPerBlock = 512;

bool has_cuda();
// The architectures this binary carries, such as "sm_75 sm_80 sm_90" or "sm_52 compute_52".
const char* architectures();

// Launches the resident grid. Does not wait. All blocks must fit on the device at once (see max_blocks).
int launch_resident(const KernelArgs& args, void* stream);
// Enqueues one step as an ordinary launch; may be captured into a graph.
int launch_step(const KernelArgs& args, std::int32_t step, void* stream);
// How many blocks of such a plan's resident kernel each multiprocessor can hold.
int max_blocks_per_sm(const GridPlan& plan, std::int32_t* blocks);
// Loads the module and raises the shared-memory limit, so that no later launch does either.
int prepare(const GridPlan& plan);
// Whether this build has the Hopper path, which plans with a stream ask for.
bool has_stream();

}  // namespace cuda

}  // namespace vigil::device
