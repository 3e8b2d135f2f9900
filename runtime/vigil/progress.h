// A progress bar on standard error.
#pragma once

#include <cstddef>
#include <string>

namespace vigil::program {

class ProgressBar {
   public:
    // `unit`: "B" for bytes, shown in millions, or a word such as "tokens". `shown` false: does nothing.
    ProgressBar(std::string label, std::string unit, bool shown);
    ~ProgressBar();  // ends the line
    ProgressBar(const ProgressBar&) = delete;
    ProgressBar& operator=(const ProgressBar&) = delete;

    void update(std::size_t done, std::size_t total);

   private:
    std::string label_;
    std::string unit_;
    bool shown_;
    int percent_ = -1;  // as it stands on the screen
};

// Whether standard error is a terminal.
bool stderr_is_terminal();

}  // namespace vigil::program
