// Percentiles and rates of token times.
#include "runtime/statistics.h"

#include <doctest/doctest.h>
#include <vector>

using namespace vigil;

TEST_CASE("percentiles lie between the order statistics") {
    const std::vector<double> values = {4, 1, 3, 2};
    CHECK(percentile(values, 0) == 1);
    CHECK(percentile(values, 50) == doctest::Approx(2.5));
    CHECK(percentile(values, 100) == 4);
    CHECK(percentile(values, 99) == doctest::Approx(3.97));
    CHECK(percentile(values, -5) == 1);
    CHECK(percentile(values, 500) == 4);
    CHECK(percentile(std::vector<double>{7}, 50) == 7);
    CHECK(percentile({}, 50) == 0);
}

TEST_CASE("tokens per second count the tokens after the first") {
    RequestStatistics s;
    CHECK(s.tokens_per_second() == 0);
    s.token_ms = {2, 2, 4};
    CHECK(s.tokens_per_second() == doctest::Approx(3000.0 / 8));
}
