// The sampler against the exact distribution, and what it promises beyond it: greedy, seeds, ties, log-probabilities.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "device/cpu/team.h"
#include "device/launch.h"
#include "device/leader.cuh"
#include "tests/phases/test_model.h"
#include "tests/reference/harness.h"
#include "tests/reference/oracle.h"
#include "tests/reference/sampler_reference.h"

using namespace vigil;
using namespace vigil::phases;
using reference::Harness;

namespace {

constexpr int kPrompt = 24;
constexpr int kMaxSeqLen = 4096;

// One layer is enough: the sampler sees logits only. The vocabulary fills many tiles and no whole number of them.
synth::ModelSpec spec() {
    auto spec = small_spec();
    spec.n_layers = 1;
    spec.vocab_size = 2500;
    return spec;
}

ring::SamplingParams plain(float temperature) {
    ring::SamplingParams params;
    params.temperature = temperature;
    params.top_k = 0;
    params.top_p = 1.0f;
    params.min_p = 0.0f;
    return params;
}

// A token under way up to its logits, from which the sample step can be run again and again.
class Sampler {
   public:
    Sampler(const gguf::File& file, const ring::SamplingParams& params)
        : harness_(file, reference::test_device(), {.max_seq_len = kMaxSeqLen}) {
        std::mt19937 random(11);
        for (int i = 0; i < kPrompt; ++i)  // few distinct tokens, so that penalties meet repeated ones
            history_.push_back(static_cast<std::int32_t>(random() % 12));
        auto job = harness_.make_job(history_, kPrompt - 1, kMaxSeqLen - kPrompt);
        job.sampling = params;
        harness_.submit(job, history_);
        const int n_steps = device::n_steps(harness_.config());
        for (int step = 0; step + 1 < n_steps; ++step) harness_.run_step(step);
        REQUIRE(device::step_at(harness_.config(), n_steps - 1).phase == ring::Phase::kSample);
        state_ = harness_.read_state();
        for (const float logit : harness_.read(harness_.args().act.logits, harness_.config().vocab_size))
            logits_.push_back(static_cast<double>(logit));
        distribution_ = reference::next_token_distribution(logits_, params, history_);
    }

    // What is drawn as if the token stood at `offset` positions after its own.
    ring::TokenEvent draw(std::uint64_t seed, int offset = 0) {
        device::DecodeState state = state_;
        state.job.sampling.seed = seed;
        state.position += offset;
        state.next_event = harness_.events_taken();
        state.events_consumed = harness_.events_taken();
        harness_.write_state(state);
        harness_.run_step(device::n_steps(harness_.config()) - 1);
        const auto events = harness_.take_events();
        REQUIRE(events.size() == 1);
        REQUIRE(events[0].kind == ring::EventKind::kToken);
        REQUIRE(events[0].token >= 0);
        REQUIRE(events[0].token < harness_.config().vocab_size);
        return events[0];
    }

    const std::vector<double>& logits() const { return logits_; }
    const std::vector<double>& distribution() const { return distribution_; }

   private:
    Harness harness_;
    std::vector<std::int32_t> history_;
    device::DecodeState state_;
    std::vector<double> logits_;
    std::vector<double> distribution_;
};

// The probability that chi-square with `df` degrees of freedom is at least `x`, by Wilson and Hilferty's cube root.
double chi_square_tail(double x, double df) {
    const double spread = 2.0 / (9.0 * df);
    const double z = (std::cbrt(x / df) - (1.0 - spread)) / std::sqrt(spread);
    return 0.5 * std::erfc(z / std::sqrt(2.0));
}

struct Fit {
    double tail = 1.0;           // probability of a worse fit by chance
    int impossible = 0;          // draws of tokens that have probability 0
    double logprob_error = 0.0;  // largest
};

Fit fit(Sampler& sampler, int n_draws, bool vary_position) {
    std::map<std::int32_t, int> counts;
    Fit result;
    for (int i = 0; i < n_draws; ++i) {
        const auto event = vary_position ? sampler.draw(99, i) : sampler.draw(static_cast<std::uint64_t>(i));
        ++counts[event.token];
        const double want = reference::log_softmax(sampler.logits(), event.token);
        result.logprob_error = std::max(result.logprob_error, std::abs(static_cast<double>(event.logprob) - want));
    }
    // Tokens too rare for a bin of their own share one.
    double statistic = 0.0;
    double rest_expected = 0.0;
    int rest_count = 0;
    int bins = 0;
    const auto add_bin = [&](double expected, int count) {
        statistic += (count - expected) * (count - expected) / expected;
        ++bins;
    };
    for (std::size_t token = 0; token < sampler.distribution().size(); ++token) {
        const double expected = sampler.distribution()[token] * n_draws;
        const auto found = counts.find(static_cast<std::int32_t>(token));
        const int count = found == counts.end() ? 0 : found->second;
        if (expected == 0.0) {
            result.impossible += count;
        } else if (expected < 5.0) {
            rest_expected += expected;
            rest_count += count;
        } else {
            add_bin(expected, count);
        }
    }
    if (rest_expected > 0.5) add_bin(rest_expected, rest_count);
    if (bins > 1) result.tail = chi_square_tail(statistic, bins - 1);
    return result;
}

struct NamedParams {
    const char* name;
    ring::SamplingParams params;
};

std::vector<NamedParams> parameter_sets() {
    std::vector<NamedParams> sets = {{"temperature 1", plain(1.0f)},
                                     {"temperature 0.4", plain(0.4f)},
                                     {"temperature 1.8", plain(1.8f)},
                                     {"the defaults", ring::SamplingParams{}}};
    auto params = plain(1.0f);
    params.top_k = 5;
    sets.push_back({"top-k 5", params});
    params = plain(1.0f);
    params.top_p = 0.7f;
    sets.push_back({"top-p 0.7", params});
    params = plain(1.0f);
    params.min_p = 0.08f;
    sets.push_back({"min-p 0.08", params});
    params = plain(1.5f);
    params.top_k = 60;
    params.top_p = 0.8f;
    params.min_p = 0.02f;
    sets.push_back({"top-k 60, top-p 0.8, min-p 0.02, temperature 1.5", params});
    params = plain(1.0f);
    params.repeat_penalty = 1.4f;
    params.frequency_penalty = 0.3f;
    params.presence_penalty = -0.8f;
    params.penalty_last_n = 10;
    sets.push_back({"all penalties over the last 10 tokens", params});
    params = ring::SamplingParams{};
    params.repeat_penalty = 0.7f;
    params.frequency_penalty = -0.5f;
    params.penalty_last_n = -1;
    sets.push_back({"the defaults and penalties that reward, over all tokens", params});
    params = plain(0.9f);
    params.top_k = 100000;
    params.top_p = 0.3f;
    sets.push_back({"top-k beyond the vocabulary, top-p 0.3", params});
    return sets;
}

std::vector<std::int32_t> generate(Harness& harness, const ring::SamplingParams& params, int n) {
    const std::vector<std::int32_t> prompt = {5, 6, 7};
    auto job = harness.make_job(prompt, 0, n);
    job.sampling = params;
    std::vector<std::int32_t> tokens;
    for (const auto& event : harness.run(job, prompt, host::Dispatch::launch)) {
        if (event.kind != ring::EventKind::kToken) continue;
        CHECK(std::isfinite(event.logprob));
        tokens.push_back(event.token);
    }
    return tokens;
}

// Rows 2i and 2i + 1 of the embedding, which is the output matrix too, become the same.
void pair_rows(const std::string& name, std::vector<std::byte>& data) {
    if (name != "token_embd.weight") return;
    const std::size_t row = spec().dim * 2;  // F16
    for (std::size_t at = 0; at + 2 * row <= data.size(); at += 2 * row)
        std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(at), row,
                    data.begin() + static_cast<std::ptrdiff_t>(at + row));
}

// Logits a hundred times as large.
void stretch_logits(const std::string& name, std::vector<std::byte>& data) {
    if (name != "output_norm.weight") return;
    for (std::size_t at = 0; at < data.size(); at += sizeof(float)) {
        float value;
        std::memcpy(&value, &data[at], sizeof value);
        value *= 100.0f;
        std::memcpy(&data[at], &value, sizeof value);
    }
}

// A token whose logits and scores a test makes up. The vocabulary is the test's choice, the model beside the point.
class GivenScores {
   public:
    explicit GivenScores(int vocab)
        : model_([&] {
              auto wanted = spec();
              wanted.vocab_size = static_cast<std::uint32_t>(vocab);
              return wanted;
          }()),
          harness_(model_.file(), reference::test_device(), {.max_seq_len = 64}) {
        const std::vector<std::int32_t> prompt = {1, 2, 3};
        harness_.submit(harness_.make_job(prompt, 2, 32), prompt);
        harness_.run_step(0);
        state_ = harness_.read_state();
    }

    int vocab() const { return harness_.config().vocab_size; }

    // How many candidates fit into shared memory, and how many are compared each with each.
    device::SampleRoom room() const {
        struct Isa {};
        using Team = device::CpuTeam<Isa>;
        alignas(128) static char shared[sizeof(device::BlockScratch) + 65536];
        const device::Machine<Team, device::LaunchExchange<Team>> machine{Team{shared, 0, 1}, {}};
        return device::sample_room(machine, harness_.args());
    }

    // As the logits phase would leave them.
    void set(const std::vector<float>& logits, const std::vector<float>& scores) {
        logits_.assign(logits.begin(), logits.end());
        scores_ = scores;
        std::vector<device::LogitTile> tiles;
        for (int begin = 0; begin < vocab(); begin += device::kTileRows) {
            device::LogitTile t{-INFINITY, 0.0f, -INFINITY, begin};
            const int end = std::min(begin + device::kTileRows, vocab());
            for (int i = begin; i < end; ++i) {
                t.max_logit = std::fmax(t.max_logit, logits[static_cast<std::size_t>(i)]);
                const float score = scores[static_cast<std::size_t>(i)];
                if (device::beats(score, i, t.best_score, t.best_token)) {
                    t.best_score = score;
                    t.best_token = i;
                }
            }
            const float from = t.max_logit > -INFINITY ? t.max_logit : 0.0f;
            for (int i = begin; i < end; ++i) t.sum_exp += std::exp(logits[static_cast<std::size_t>(i)] - from);
            tiles.push_back(t);
        }
        const auto& act = harness_.args().act;
        upload(act.logits, logits);
        upload(act.scores, scores);
        upload(act.tiles, tiles);
    }
    void set(const std::vector<float>& scores) { set(scores, scores); }

    std::vector<ring::TokenEvent> sample(const ring::SamplingParams& params, int n_alternatives = 0) {
        device::DecodeState state = state_;
        state.job.sampling = params;
        state.job.n_alternatives = static_cast<std::int16_t>(n_alternatives);
        state.next_event = harness_.events_taken();
        state.events_consumed = harness_.events_taken();
        harness_.write_state(state);
        harness_.run_step(device::n_steps(harness_.config()) - 1);
        auto events = harness_.take_events();
        REQUIRE(events.size() == static_cast<std::size_t>(n_alternatives) + 1);
        REQUIRE(events.back().kind == ring::EventKind::kToken);
        return events;
    }

    // Draws with seeds at which it matters whether exactly the right tokens are kept, and with a few others.
    void check(ring::SamplingParams params) {
        const auto kept = reference::kept_tokens(scores_, params);
        // A threshold by mass is as sharp as sums in floating point are.
        auto narrower = params;
        auto wider = params;
        narrower.top_p *= 1.0f - 2e-6f;
        if (params.top_p < 1.0f) wider.top_p = std::min(params.top_p * (1.0f + 2e-6f), 1.0f);
        const auto least = reference::kept_tokens(scores_, narrower);
        const auto most = reference::kept_tokens(scores_, wider);
        auto everything = params;
        everything.top_k = 0;
        everything.top_p = 1.0f;
        everything.min_p = 0.0f;
        auto next = reference::kept_tokens(scores_, everything);  // what might be kept by mistake
        next.resize(std::min(next.size(), kept.size() + 3));
        const std::set<std::int32_t> at_the_edge(next.end() - std::min<std::ptrdiff_t>(std::ssize(next), 6),
                                                 next.end());

        const std::uint64_t n_seeds = kept.size() < 3000 ? 400 : 4;
        int n_draws = 0;
        for (std::uint64_t seed = 0; seed < n_seeds && n_draws < 10; ++seed) {
            params.seed = seed;
            if (seed >= 3 && !at_the_edge.contains(winner(next, params).token)) continue;
            ++n_draws;
            CAPTURE(seed);
            const ring::TokenEvent event = sample(params).back();
            const std::int32_t token = event.token;
            bool right = false;
            for (const auto& tokens : {least, kept, most}) {
                const Winner expected = winner(tokens, params);
                const bool is_kept = std::find(tokens.begin(), tokens.end(), token) != tokens.end();
                right = right || token == expected.token ||
                        (is_kept && value(token, params) > expected.value - 1e-5f * std::abs(expected.value));
            }
            CAPTURE(token);
            CAPTURE(kept.size());
            CHECK(right);
            const double logprob = reference::log_softmax(logits_, token);
            if (std::isfinite(logprob)) CHECK(std::abs(static_cast<double>(event.logprob) - logprob) < 1e-4);
        }
    }

    void check_alternatives(int n) {
        std::vector<std::int32_t> order(logits_.size());
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
            return logits_[static_cast<std::size_t>(a)] > logits_[static_cast<std::size_t>(b)];
        });
        for (const float temperature : {0.0f, 1.0f}) {
            CAPTURE(temperature);
            auto params = plain(temperature);
            params.top_k = 40;
            const auto events = sample(params, n);
            for (int rank = 0; rank < n; ++rank) {
                const auto& event = events[static_cast<std::size_t>(rank)];
                CAPTURE(rank);
                CHECK(event.kind == ring::EventKind::kAlternative);
                CHECK(event.token == order[static_cast<std::size_t>(rank)]);
                CHECK(std::abs(static_cast<double>(event.logprob) - reference::log_softmax(logits_, event.token)) <
                      1e-4);
            }
        }
    }

   private:
    template <class T>
    static void upload(T* to, const std::vector<T>& from) {
        reference::test_device().upload(to, from.data(), from.size() * sizeof(T));
        reference::test_device().flush_uploads();
    }

    struct Winner {
        std::int32_t token;
        float value;
    };
    float value(std::int32_t token, const ring::SamplingParams& params) const {
        return scores_[static_cast<std::size_t>(token)] / params.temperature +
               device::gumbel(params.seed, state_.position, token);
    }
    Winner winner(const std::vector<std::int32_t>& tokens, const ring::SamplingParams& params) const {
        Winner best{-1, -INFINITY};
        for (const std::int32_t token : tokens)
            if (const float v = value(token, params); best.token < 0 || v > best.value) best = {token, v};
        return best;
    }

    TestModel model_;
    Harness harness_;
    device::DecodeState state_;
    std::vector<double> logits_;
    std::vector<float> scores_;
};

std::vector<float> normal_scores(int n, float spread, unsigned seed = 1) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, spread);
    std::vector<float> scores(static_cast<std::size_t>(n));
    for (float& score : scores) score = normal(random);
    return scores;
}

struct NamedScores {
    const char* name;
    std::vector<float> scores;
};

std::vector<NamedScores> score_sets(int n) {
    std::vector<NamedScores> sets = {{"spread like a model's", normal_scores(n, 3.0f)},
                                     {"nearly flat", normal_scores(n, 1e-3f)}};
    auto scores = normal_scores(n, 2.0f);
    scores[static_cast<std::size_t>(n) - 1] = 40.0f;
    sets.push_back({"one far above", scores});
    scores = normal_scores(n, 3.0f);
    for (int i = 0; i < n; ++i)
        if (i < 200) scores[static_cast<std::size_t>(i)] += 15.0f;
    sets.push_back({"the best in few tiles", scores});
    for (float& score : scores) score = std::round(score) - 30.0f;
    sets.push_back({"many equal ones, all below 0", scores});
    return sets;
}

// With a temperature at which all that is kept is drawn now and then.
std::vector<NamedParams> truncations(int vocab) {
    std::vector<NamedParams> sets;
    const auto add = [&](const char* name, int top_k, float top_p, float min_p) {
        auto params = plain(50.0f);
        params.top_k = top_k;
        params.top_p = top_p;
        params.min_p = min_p;
        sets.push_back({name, params});
    };
    add("the defaults", 40, 0.95f, 0.05f);
    add("top-k 2", 2, 1.0f, 0.0f);
    add("top-k 250", 250, 1.0f, 0.0f);
    add("more than half the threads", 300, 0.9f, 0.0f);
    add("more than the threads", 600, 1.0f, 0.01f);
    add("more than the tiles", vocab / device::kTileRows + 10, 0.8f, 0.0f);
    add("all but one", vocab - 1, 1.0f, 0.0f);
    add("top-p 0.9", 0, 0.9f, 0.0f);
    add("top-p 0.5", 0, 0.5f, 0.0f);
    add("top-p 0.9999", 0, 0.9999f, 0.0f);
    add("top-p 0", 0, 0.0f, 0.0f);
    add("min-p 0.05", 0, 1.0f, 0.05f);
    add("min-p 1", 0, 1.0f, 1.0f);
    add("top-p 0.95, min-p 0.1", 0, 0.95f, 0.1f);
    return sets;
}

void check_truncations(int vocab) {
    GivenScores given(vocab);
    for (const auto& [scores_name, scores] : score_sets(vocab)) {
        CAPTURE(scores_name);
        given.set(scores);
        for (const auto& [name, params] : truncations(vocab)) {
            CAPTURE(name);
            given.check(params);
        }
    }
}

}  // namespace

TEST_CASE("[full] draws follow the exact distribution, over seeds and over positions") {
    const TestModel model(spec());
    for (const auto& [name, params] : parameter_sets()) {
        CAPTURE(name);
        Sampler sampler(model.file(), params);
        for (const bool vary_position : {false, true}) {
            CAPTURE(vary_position);
            const Fit result = fit(sampler, 2000, vary_position);
            CHECK(result.tail > 1e-4);
            CHECK(result.impossible == 0);
            CHECK(result.logprob_error < 1e-4);
        }
    }
}

TEST_CASE("[full] the chi-square test would notice a wrong temperature") {
    const TestModel model(spec());
    Sampler sampler(model.file(), plain(1.0f));
    Sampler warmer(model.file(), plain(1.2f));
    std::map<std::int32_t, int> counts;
    double statistic = 0.0;
    int bins = 0;
    for (int i = 0; i < 2000; ++i) ++counts[warmer.draw(static_cast<std::uint64_t>(i)).token];
    for (std::size_t token = 0; token < sampler.distribution().size(); ++token) {
        const double expected = sampler.distribution()[token] * 2000;
        if (expected < 5.0) continue;
        const double difference = counts[static_cast<std::int32_t>(token)] - expected;
        statistic += difference * difference / expected;
        ++bins;
    }
    CHECK(chi_square_tail(statistic, bins - 1) < 1e-4);
}

TEST_CASE("temperature 0 and top-k 1 take the likeliest token whatever the seed") {
    const TestModel model(spec());
    auto only_one = plain(1.0f);
    only_one.top_k = 1;
    for (const auto& params : {plain(0.0f), only_one}) {
        Sampler sampler(model.file(), params);
        const int best = reference::argmax(sampler.logits());
        for (std::uint64_t seed = 0; seed < 20; ++seed) CHECK(sampler.draw(seed).token == best);
    }
}

TEST_CASE("greedy goes by the penalised scores, and its logprob by the model's own") {
    const TestModel model(spec());
    auto params = plain(0.0f);
    params.repeat_penalty = 0.2f;  // rewards what was there
    params.presence_penalty = -30.0f;
    Sampler sampler(model.file(), params);
    const int want = reference::argmax(sampler.distribution());
    CHECK(want != reference::argmax(sampler.logits()));
    const auto event = sampler.draw(1);
    CHECK(event.token == want);
    CHECK(static_cast<double>(event.logprob) == doctest::Approx(reference::log_softmax(sampler.logits(), want)));
}

TEST_CASE("the same seed draws the same tokens and another seed others") {
    const TestModel model(spec());
    Harness harness(model.file(), reference::test_device(), {.max_seq_len = 128});
    auto params = plain(1.0f);
    params.seed = 1;
    const auto first = generate(harness, params, 60);
    CHECK(first.size() == 60);
    CHECK(generate(harness, params, 60) == first);
    std::set<std::vector<std::int32_t>> distinct = {first};
    for (const std::uint64_t seed : {std::uint64_t{2}, std::uint64_t{1} << 32, ~std::uint64_t{0}}) {
        params.seed = seed;
        distinct.insert(generate(harness, params, 60));
    }
    CHECK(distinct.size() == 4);
}

TEST_CASE("among equal logits greedy takes the lowest token id") {
    const TestModel model(spec(), {.edit = pair_rows});
    Sampler greedy(model.file(), plain(0.0f));
    const int best = reference::argmax(greedy.logits());
    REQUIRE(best % 2 == 0);
    REQUIRE(greedy.logits()[static_cast<std::size_t>(best)] == greedy.logits()[static_cast<std::size_t>(best) + 1]);
    CHECK(greedy.draw(1).token == best);
}

TEST_CASE("[full] equal logits are drawn equally often and never break a filter") {
    const TestModel model(spec(), {.edit = pair_rows});
    auto params = plain(1.0f);
    params.top_k = 6;
    Sampler sampler(model.file(), params);
    const Fit result = fit(sampler, 2000, false);
    CHECK(result.tail > 1e-4);
    CHECK(result.impossible == 0);

    params.top_k = 1;  // on a tie: one of the two
    Sampler tied(model.file(), params);
    for (std::uint64_t seed = 0; seed < 20; ++seed)
        CHECK(tied.draw(seed).token / 2 == reference::argmax(tied.logits()) / 2);
}

TEST_CASE("[full] logits of hundreds give finite log-probabilities and still the exact distribution") {
    const TestModel model(spec(), {.edit = stretch_logits});
    for (const float temperature : {1.0f, 100.0f, 0.01f}) {
        CAPTURE(temperature);
        Sampler sampler(model.file(), plain(temperature));
        const Fit result = fit(sampler, 1000, false);
        CHECK(result.tail > 1e-4);
        CHECK(result.impossible == 0);
        CHECK(result.logprob_error < 1e-3);
    }
}

TEST_CASE("[given] truncation keeps exactly the right tokens") {
    check_truncations(2500);
}

TEST_CASE("[given] truncation of a small vocabulary whose last tile is whole, has one token, or lacks one") {
    for (const int vocab : {320, 321, 351}) {
        CAPTURE(vocab);
        check_truncations(vocab);
    }
}

TEST_CASE("[full] truncation keeps exactly the right tokens of a large vocabulary") {
    check_truncations(128'256);
}

TEST_CASE("[full] truncation keeps exactly the right tokens of a vocabulary with more tiles than threads keep") {
    check_truncations(151'937);
}

TEST_CASE("[given] as many candidates as there is room for, one less and one more") {
    GivenScores given(8000);
    const auto room = given.room();
    REQUIRE(room.few > 0);
    REQUIRE(room.capacity > room.few);
    REQUIRE(room.capacity + 1 < given.vocab());
    for (const int n : {room.few, room.few + 1, room.capacity - 1, room.capacity, room.capacity + 1}) {
        CAPTURE(n);
        // Spread over the vocabulary, and the same again at its end.
        for (const int stride : {given.vocab() / n, 1}) {
            CAPTURE(stride);
            auto equal = normal_scores(given.vocab(), 0.1f);
            auto ranked = equal;
            for (int i = 0; i < n; ++i) {
                const auto at = static_cast<std::size_t>(given.vocab() - 1 - i * stride);
                equal[at] = 5.0f;
                ranked[at] = 5.0f + 0.001f * static_cast<float>(i);
            }
            for (const auto& scores : {equal, ranked}) {
                given.set(scores);
                auto params = plain(50.0f);
                params.top_k = 3;  // where all are equal all are kept
                given.check(params);
                params.top_k = n;
                given.check(params);
                params.top_p = 0.5f;
                given.check(params);
                given.check_alternatives(ring::kMaxAlternatives);
            }
        }
    }
}

TEST_CASE("[given] scores that are infinite or not a number") {
    GivenScores given(2500);
    auto scores = normal_scores(given.vocab(), 3.0f);
    std::mt19937 random(2);
    for (float& score : scores) score = random() % 4 == 0 ? -INFINITY : score;
    std::fill_n(scores.begin() + 320, 64, -INFINITY);  // whole tiles
    given.set(scores);
    for (const auto& [name, params] : truncations(given.vocab())) {
        CAPTURE(name);
        if (params.top_k < 1500) given.check(params);
    }
    for (std::size_t i = 0; i < scores.size(); ++i)
        if (i % 5 == 0 || (i >= 640 && i < 704)) scores[i] = i % 2 == 0 ? NAN : -NAN;
    given.set(scores);
    for (const auto& [name, params] : truncations(given.vocab())) {
        CAPTURE(name);
        // The mass of all is none either.
        if (params.top_k < 1000 && (params.top_k > 0 || params.top_p == 1.0f)) given.check(params);
    }

    std::fill(scores.begin(), scores.end(), -INFINITY);
    scores[77] = 1.0f;
    given.set(scores);
    for (const auto& [name, params] : truncations(given.vocab())) {
        CAPTURE(name);
        CHECK(given.sample(params).back().token == 77);
    }
    std::fill(scores.begin(), scores.end(), NAN);
    given.set(scores);
    for (const auto& [name, params] : truncations(given.vocab())) {
        CAPTURE(name);
        const std::int32_t token = given.sample(params).back().token;
        CHECK(token >= 0);
        CHECK(token < given.vocab());
    }
}

TEST_CASE("[given] penalised scores are truncated by their own mass") {
    GivenScores given(2500);
    const auto logits = normal_scores(given.vocab(), 3.0f);
    auto scores = logits;
    std::mt19937 random(3);
    for (std::size_t i = 0; i < scores.size(); ++i)
        if (logits[i] > 5.0f || random() % 8 == 0) scores[i] -= 4.0f;
    given.set(logits, scores);
    for (auto [name, params] : truncations(given.vocab())) {
        CAPTURE(name);
        params.repeat_penalty = 1.1f;
        params.penalty_last_n = 64;
        given.check(params);
    }
    given.check_alternatives(5);
}

TEST_CASE("[given] alternatives come in order for any number of them") {
    GivenScores given(2500);
    for (const auto& [name, scores] : score_sets(given.vocab())) {
        CAPTURE(name);
        given.set(scores);
        for (const int n : {1, 2, ring::kMaxAlternatives}) given.check_alternatives(n);
    }
}
