// What the server counts and times, as Prometheus reads it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/engine.h"

namespace vigil::serve {

// Counts of values up to each bound, as Prometheus' histograms are.
class Histogram {
   public:
    explicit Histogram(std::span<const double> bounds) : bounds_(bounds), counts_(bounds.size() + 1) {}
    void add(double value);
    // The lines of the metric `name`.
    std::string lines(const std::string& name) const;

   private:
    std::span<const double> bounds_;
    std::vector<std::uint64_t> counts_;  // the last: above all bounds
    double sum_ = 0;
};

class Metrics {
   public:
    Metrics();

    // Of a whole HTTP request. `path` is one of the server's own, or empty.
    void request(const std::string& path, int status);
    // Of a generation that has ended.
    void generation(const RequestStatistics& statistics, double queue_ms);
    void client_gone();
    void rejected();

    // What is true just now.
    struct Now {
        std::size_t waiting = 0, running = 0, connections = 0;
        EngineStatistics engine;
    };
    std::string text(const Now& now) const;

   private:
    mutable std::mutex mutex_;  // of all below
    std::map<std::pair<std::string, int>, std::uint64_t> requests_;
    std::uint64_t prompt_tokens_ = 0;
    std::uint64_t reused_tokens_ = 0;
    std::uint64_t generated_tokens_ = 0;
    std::uint64_t clients_gone_ = 0;
    std::uint64_t rejected_ = 0;
    Histogram first_token_;
    Histogram token_;
    Histogram queue_;
};

}  // namespace vigil::serve
