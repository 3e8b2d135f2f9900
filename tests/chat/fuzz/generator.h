// Templates to try: grown from a grammar, or mutated from a corpus. The same seed gives the same templates.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace vigil::test {

class TemplateGenerator {
   public:
    TemplateGenerator(std::uint64_t seed, std::vector<std::string> corpus);
    std::string next();

   private:
    std::size_t below(std::size_t n) { return static_cast<std::size_t>(random_() % n); }
    const std::string& any(const std::vector<std::string>& from) { return from[below(from.size())]; }
    std::string expression(int depth);
    std::string arguments(int depth);
    std::string statement(int depth);
    std::string body(int depth);
    std::string mutated();
    void mutate(std::string& text);

    std::mt19937_64 random_;
    std::vector<std::string> corpus_;
};

}  // namespace vigil::test
