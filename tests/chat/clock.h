// The moment at which tests/chat/reference.py stands still: Friday, 7 March 2025, 09:05:03.
#pragma once

#include <ctime>

namespace vigil::test {

inline std::tm fixed_time() {
    std::tm time{};
    time.tm_year = 125;
    time.tm_mon = 2;
    time.tm_mday = 7;
    time.tm_hour = 9;
    time.tm_min = 5;
    time.tm_sec = 3;
    time.tm_wday = 5;
    time.tm_yday = 65;
    return time;
}

}  // namespace vigil::test
