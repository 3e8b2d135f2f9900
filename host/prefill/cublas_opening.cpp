#include "host/prefill/cublas_opening.h"

namespace vigil::host {

CublasOpening::CublasOpening(Device& device)
    : device_(device),
      workspace_(device.allocate(Cublas::kWorkspaceBytes)),
      opened_(std::async(std::launch::async, [&device, workspace = workspace_] {
          // Asking for the stream also makes the device this thread's.
          return std::make_unique<Cublas>(Cublas::candidates(VIGIL_CUBLAS_MAJOR), device.launch_stream(), workspace,
                                          Cublas::kWorkspaceBytes);
      })) {}

CublasOpening::~CublasOpening() {
    if (opened_.valid()) opened_.wait();
    opened_ = {};
    cublas_.reset();
    device_.release(workspace_);
}

Cublas& CublasOpening::get() {
    if (opened_.valid()) cublas_ = opened_.get();
    if (!cublas_) throw CublasError("cuBLAS could not be opened");
    return *cublas_;
}

}  // namespace vigil::host
