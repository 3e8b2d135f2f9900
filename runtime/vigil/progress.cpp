#include "runtime/vigil/progress.h"

#include <algorithm>
#include <cstdio>
#include <fmt/format.h>
#include <unistd.h>
#include <utility>

#include "runtime/vigil/messages.h"

namespace vigil::program {
namespace {

constexpr int kWidth = 40;

}  // namespace

ProgressBar::ProgressBar(std::string label, std::string unit, bool shown)
    : label_(std::move(label)), unit_(std::move(unit)), shown_(shown) {}

ProgressBar::~ProgressBar() {
    if (shown_ && percent_ >= 0) say("\n");
}

void ProgressBar::update(std::size_t done, std::size_t total) {
    if (!shown_ || total == 0) return;
    const double part = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
    const int percent = static_cast<int>(100.0 * part);
    if (percent == percent_) return;
    percent_ = percent;
    const int filled = percent * kWidth / 100;
    const std::string amount =
        unit_ == "B" ? fmt::format("{:.1f} MB", static_cast<double>(total) * 1e-6) : fmt::format("{} {}", total, unit_);
    say(fmt::format("\r{} [{:#<{}}{: <{}}] {:3} % of {}", label_, "", filled, "", kWidth - filled, percent, amount));
}

bool stderr_is_terminal() {
    return isatty(STDERR_FILENO) != 0;
}

}  // namespace vigil::program
