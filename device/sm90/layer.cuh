// The phases that multiply, for the Hopper path: one function for all of them, so that a layer fits into the
// instruction cache. What each phase reads, publishes and waits for is what its file in device/phases/ says; the order
// of addition is the stream's.
#pragma once

#include "device/sm90/machine.cuh"

namespace vigil::device {
namespace sm90 {

// x / (1 + e^-x), right to some units in the last place.
VIGIL_DEVICE float quick_silu(float x) {
    return x * reciprocal_approximate(1.0f + exp2_approximate(-1.44269504f * x));
}

// Tells the producer whether the token's logits are wanted.
template <class M>
VIGIL_DEVICE void begin_token(const M& m, const TokenContext& t) {
    if (m.team.thread() != 0) return;
    std::uint32_t* token = &control(m.team)->token;
    set_word(token, (*token / 2 + 1) * 2 + (t.wants_logits ? 1 : 0));  // nobody else writes it
}

// Moves the cursor behind a run.
template <class M>
VIGIL_DEVICE void move_behind(M& m, const Run& r, const ChunkWalk& walk) {
    StreamCursor& cursor = m.team.stream;
    int stage = cursor.stage() + ((walk.n + (1 << r.stage_log2) - 1) >> r.stage_log2);
    std::uint32_t parity = cursor.parity();
    for (; stage >= walk.n_stages; stage -= walk.n_stages) parity ^= 1;
    cursor.move_to(stage, parity);
    cursor.begin_at(cursor.run() + static_cast<Shared>(sizeof(Run) << r.joined));
}

// What a phase waits for before its product.
template <class M>
VIGIL_DEVICE Projection projection(const M& m, const Awaited& awaited) {
    const StreamControl* c = control(m.team);
    const PhaseInput shape = load_phase_input(c, awaited.phase);
    const Shared norm = shared_address(c) + shape.norm_at + static_cast<Shared>(awaited.layer & 1) * shape.norm_stride;
    return {awaited, shape.from, shape.cols, load_shared_pointer<const float>(norm)};
}

// done(to, product, second product of a pair, word) by one thread per row. `word` is what ahead(row) asked for before
// the wait for the input. Whatever can be worked out before that wait is: what comes behind it, everyone waits for.
template <class M, class Ahead, class Done>
VIGIL_DEVICE void project(M& m, const KernelArgs& a, const Awaited& awaited, bool pairs, Ahead&& ahead, Done&& done) {
    StreamControl* c = control(m.team);
    RowSums sums;
    std::uint32_t word = 0;
    float2 sum = {0.0f, 0.0f};  // of the warp's chunks of a tile so far
    int before = 0;             // chunks since the block's last barrier
    bool gathers = true;
    int begin = 0;  // of the input's columns that are still to be gathered
    VIGIL_UNROLL_BY(1)
    for (bool last = false; !last;) {
        InputLooks looks;
        const Projection p = projection(m, awaited);
        const Run r = current_run(m);
        if (r.n_chunks == 0) {  // no share: not even the input is waited for
            m.team.stream.begin_at(m.team.stream.run() + static_cast<Shared>(sizeof(Run)));
            break;
        }
        // A long input comes in rounds: what of the first tile belongs to one is multiplied before the next one is
        // waited for. Not behind a norm, whose squares and weights would take registers from the products.
        const bool more =
            M::Team::kGathersInRounds && gathers && p.norm_weight == nullptr && begin + InputLooks::kRound < p.cols;
        ChunkWalk walk(c, m.team.stream, r, before);
        if (begin > 0)
            walk.skip(r, begin);
        else if (before > 0)
            sums.set_second(r, walk.partials, m.team.thread());
        else {
            sums = RowSums(r, walk.partials, m.team.thread());
            if (!pairs && sums.row >= 0) word = ahead(sums.row);
        }
        // Not before: a look that comes too early costs the time of the next one. Not later, or that shows.
        if (gathers) {
            const int first = begin + first_column(m);
            // The kernel for all kinds has no register to spare for it.
            if (M::Team::kKinds != kAllKinds) looks.nearer = anew(nearer_replica(p.from + first, c->near_half));
            looks.look(p, first, m.team.lane());
        }
        if (gathers && begin == 0) begin_input(m, p.cols);
        int end = begin + InputLooks::kRound;
        int end_chunk = chunks_of(r, end);
        if (!more) {
            end = p.cols;
            end_chunk = walk.n;
            last = r.last_of_phase != 0;
            move_behind(m, r, walk);
        }
        const InputView in(shared_address(m.area()), tiles::InputLayout(M::Team::kinds(r.kinds), p.cols), m.team.lane(),
                           m.team.stream.input() ^ 1);
        if (gathers) gather_input(m, a, r, p, looks, begin, end);
        multiply_chunks_of<M::Team::kKinds>(c, walk, r, in, end_chunk, sum);
        if (more) {
            begin += InputLooks::kRound;
            continue;
        }
        begin = 0;
        gathers = false;
        before = pairs && before == 0 && r.joined == 0 ? r.n_chunks : 0;
        if (before != 0) continue;  // the second of a pair comes before the barrier

        m.team.sync();
        if (sums.warp_has_rows()) {
            const RowSums::Shares first = sums.first();
            const PhaseResult result = load_phase_result(c, awaited.phase);
            const float scale = await_norm_scale(c, m.team.stream.norm() ^ 1, result.normed != 0);
            float other = 0.0f;
            if (pairs) other = sums.second().sum();
            if (sums.row >= 0) done(result.to + sums.row, first.sum() * scale, other * scale, word);
        }
        m.team.stream.next_half();
        m.team.stream.set_met();
    }
}

template <class M>
VIGIL_DEVICE void project_phase(M& m, const KernelArgs& a, ring::Phase phase, const LayerWeights& w, int layer,
                                const TokenContext& t) {
    StreamControl* c = control(m.team);
    const bool qkv = phase == ring::Phase::kQkv;
    const bool gate_up = phase == ring::Phase::kGateUp;
    const bool down = phase == ring::Phase::kDown;
    const bool vocab = phase == ring::Phase::kLogits;
    const std::uint32_t of_layer = layer_epoch(a, t, layer);
    const std::uint32_t before = residual_epoch(a, t, 2 * layer + (gate_up || down ? 1 : 0));
    const Awaited awaited{phase, vocab ? -1 : layer, qkv || gate_up || vocab ? before : of_layer};
    if (vocab && m.team.thread() == 0) c->host_logits = host_logits(a, t);
    project(
        m, a, awaited, gate_up,
        [&](int row) {
            if (vocab) return 0u;
            if (!qkv) return M::Team::load_word(a.act.residual + row);
            const int n_q = head_rows(a.config);
            const int n_kv = kv_rows(a.config);
            const float* of = row < n_q ? w.bq : row < n_q + n_kv ? w.bk : w.bv;
            return of != nullptr ? ring::float_bits(of[row < n_q          ? row
                                                       : row < n_q + n_kv ? row - n_q
                                                                          : row - n_q - n_kv])
                                 : 0u;
        },
        [&](float* to, float product, float other, std::uint32_t word) {
            if (vocab) return store_logit(a, c->host_logits, static_cast<int>(to - a.act.logits), product);
            if (gate_up) return m.publish(to, quick_silu(product) * other, of_layer);
            if (qkv) return m.publish(to, product + ring::bits_float(word), of_layer);
            // Nobody else writes this row; a block that had no share of the input may have looked early.
            m.publish(to, product + m.complete(word, to, {phase, layer, before}), before + 1);
        });
}

}  // namespace sm90

template <std::uint32_t K, class X>
VIGIL_DEVICE void qkv_proj(StreamMachine<K, X>& m, const KernelArgs& a, const LayerWeights& w, int layer,
                           const TokenContext& t) {
    sm90::project_phase(m, a, ring::Phase::kQkv, w, layer, t);
}
template <std::uint32_t K, class X>
VIGIL_DEVICE void output_proj(StreamMachine<K, X>& m, const KernelArgs& a, const LayerWeights& w, int layer,
                              const TokenContext& t) {
    sm90::project_phase(m, a, ring::Phase::kOutputProj, w, layer, t);
}
template <std::uint32_t K, class X>
VIGIL_DEVICE void gate_up(StreamMachine<K, X>& m, const KernelArgs& a, const LayerWeights& w, int layer,
                          const TokenContext& t) {
    sm90::project_phase(m, a, ring::Phase::kGateUp, w, layer, t);
}
template <std::uint32_t K, class X>
VIGIL_DEVICE void down_proj(StreamMachine<K, X>& m, const KernelArgs& a, const LayerWeights& w, int layer,
                            const TokenContext& t) {
    sm90::project_phase(m, a, ring::Phase::kDown, w, layer, t);
}

// The resident loop's are done by then, see decode_layers.
template <std::uint32_t K, class X>
VIGIL_DEVICE void multiply_logits(StreamMachine<K, X>& m, const KernelArgs& a, const TokenContext& t) {
    if (!X::kWaits)
        sm90::project_phase(m, a, ring::Phase::kLogits, layer_weights(m, a.config.n_layers), a.config.n_layers, t);
}

// A token as device/layer.cuh has it, and the products of the output matrix if its logits are wanted: in a loop over
// phases, so that there is one copy of what multiplies.
template <std::uint32_t K, class X>
VIGIL_DEVICE void decode_layers(StreamMachine<K, X>& m, const KernelArgs& a, const TokenContext& t) {
    sm90::begin_token(m, t);
    constexpr int kFirst = static_cast<int>(ring::Phase::kQkv);
    constexpr int kLast = static_cast<int>(ring::Phase::kDown);
    constexpr int kLogits = static_cast<int>(ring::Phase::kLogits);
    static_assert(kLogits > kLast, "tells the phases of a layer from it");
    const int n_layers = a.config.n_layers;
    VIGIL_UNROLL_BY(1)
    for (int layer = 0; layer < n_layers || (layer == n_layers && t.wants_logits); ++layer) {
        m.team.stream.begin_at(sm90::run_address(sm90::control(m.team), layer * a.plan.stream.runs_per_layer));
        if (!m.team.stream.met()) m.team.sync();  // for this layer's pointers, with no share of the last one's phases
        const LayerWeights& w = layer_weights(m, layer);
        const bool output = layer == n_layers;
        const int last = output ? kLogits : kLast;
        VIGIL_UNROLL_BY(1)
        for (int i = output ? kLogits : kFirst; i <= last; ++i) {
            const auto phase = static_cast<ring::Phase>(i);
            if (phase == ring::Phase::kAttention)
                attention(m, a, w, layer, t);
            else if (phase == ring::Phase::kCombine)
                combine_splits(m, a, layer, t);
            else
                sm90::project_phase(m, a, phase, w, layer, t);
            if (i <= kLast) m.trace_phase(a, t, phase, layer);
            if (phase == ring::Phase::kQkv && layer + 1 < n_layers) {
                load_layer(m, a, layer + 1);
                m.team.stream.forget_met();
            }
        }
    }
}

}  // namespace vigil::device
