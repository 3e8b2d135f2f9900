// Ctrl-C as something to be read: while one of these lives, SIGINT ends nothing by itself.
#pragma once

#include <csignal>

namespace vigil::chat {

// To be made on the thread that asks, and after the threads that shall never see SIGINT have been started with it
// blocked; threads started later inherit that it is.
class Interrupts {
   public:
    Interrupts();  // throws std::system_error
    ~Interrupts();
    Interrupts(const Interrupts&) = delete;
    Interrupts& operator=(const Interrupts&) = delete;

    // True if Ctrl-C has been pressed since the last call.
    bool take();
    // Readable when take() would be true: to wait for it beside other input.
    int descriptor() const noexcept { return descriptor_; }

   private:
    int descriptor_;
    sigset_t before_;
};

}  // namespace vigil::chat
