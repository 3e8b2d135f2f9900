#include "runtime/stop_strings.h"

#include <algorithm>
#include <utility>

namespace vigil {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

StopMatcher::Step StopMatcher::push(std::string_view piece) {
    held_ += piece;
    std::size_t first_end = std::string::npos;
    std::size_t first_begin = std::string::npos;
    for (const std::string& stop : stops_) {
        const std::size_t begin = held_.find(stop);
        if (begin == std::string::npos) continue;
        const std::size_t end = begin + stop.size();
        if (end < first_end || (end == first_end && begin < first_begin)) {
            first_end = end;
            first_begin = begin;
        }
    }
    if (first_begin != std::string::npos) {
        Step step{held_.substr(0, first_begin), true};
        held_.clear();
        return step;
    }
    std::size_t keep_from = 0;
    const auto may_begin_stop = [&](std::string_view rest) {
        return std::any_of(stops_.begin(), stops_.end(), [&](const std::string& s) { return s.starts_with(rest); });
    };
    while (keep_from < held_.size() && !may_begin_stop(std::string_view(held_).substr(keep_from))) ++keep_from;
    Step step{held_.substr(0, keep_from), false};
    held_.erase(0, keep_from);
    return step;
}

std::string StopMatcher::finish() {
    return std::exchange(held_, {});
}

}  // namespace vigil
