// cuBLAS for one device, opened on a thread of its own: that takes seconds, in which the weights can be uploaded.
#pragma once

#include <future>
#include <memory>

#include "host/cuda/cublas.h"
#include "host/device.h"

namespace vigil::host {

class CublasOpening {
   public:
    // Begins, and allocates the workspace. The kernel must stay parked until get() has returned or thrown. `device`, a
    // CUDA device, must outlive this.
    explicit CublasOpening(Device& device);
    // Waits for the thread. Only while the kernel is parked: cuBLAS waits for the GPU when it goes.
    ~CublasOpening();
    CublasOpening(const CublasOpening&) = delete;
    CublasOpening& operator=(const CublasOpening&) = delete;

    // Waits until it is open. Throws CublasError if there is none that works, DeviceError if the device fails.
    Cublas& get();

   private:
    Device& device_;
    void* workspace_;
    std::future<std::unique_ptr<Cublas>> opened_;
    std::unique_ptr<Cublas> cublas_;
};

}  // namespace vigil::host
