// The weight formats on the CPU, eight weights at a time.
//
// CpuFormat<Isa, F> says of a block format F what the quants of eight neighbouring weights are, as whole numbers, and
// the scale and offset of the group that they belong to: a weight is scale * quant + offset, each operation rounded to
// FP32 in ggml's order. The layouts are in docs/gguf.md. An "eighth" is the number of eight neighbours in a block.
#pragma once

#include <cstring>

#include "device/cpu/isa.h"
#include "device/model.h"
#include "device/seams/block_constants.h"

namespace vigil::device {

struct GroupScale {
    float scale;
    float offset;
};

template <class T>
VIGIL_DEVICE T read_as(const char* p) {
    T value;
    std::memcpy(&value, p, sizeof value);
    return value;
}
VIGIL_DEVICE int read_byte(const char* p) {
    return static_cast<unsigned char>(*p);
}
template <class Isa>
VIGIL_DEVICE float read_half(const char* p) {
    return Isa::from_half(read_as<std::uint16_t>(p));
}

// Nibbles of a block of 32: eighths 0 and 1 are low, 2 and 3 high nibbles of the same 16 bytes.
template <class Isa>
VIGIL_DEVICE typename Isa::Ints nibbles_of_32(const char* nibbles, int eighth) {
    const auto bytes = Isa::load_bytes(nibbles + eighth % 2 * 8);
    return eighth < 2 ? Isa::mask(bytes, 15) : Isa::shift_right(bytes, 4);
}
// Nibbles in runs of 64: 32 bytes whose low nibbles come first.
template <class Isa>
VIGIL_DEVICE typename Isa::Ints nibbles_of_64(const char* nibbles, int eighth) {
    const auto bytes = Isa::load_bytes(nibbles + eighth / 8 * 32 + eighth % 4 * 8);
    return eighth % 8 < 4 ? Isa::mask(bytes, 15) : Isa::shift_right(bytes, 4);
}
// Pairs of bits in runs of 128: 32 bytes, the lowest bits first.
template <class Isa>
VIGIL_DEVICE typename Isa::Ints pairs_of_128(const char* pairs, int eighth) {
    const auto bytes = Isa::load_bytes(pairs + eighth / 16 * 32 + eighth % 4 * 8);
    return Isa::mask(Isa::shift_right(bytes, eighth % 16 / 4 * 2), 3);
}
// Single bits: 32 bytes, the lowest bits for the first 32 weights.
template <class Isa>
VIGIL_DEVICE typename Isa::Ints bits_of_256(const char* bits, int eighth) {
    return Isa::mask(Isa::shift_right(Isa::load_bytes(bits + eighth % 4 * 8), eighth / 4), 1);
}

template <class Isa, TensorFormat F>
struct CpuFormat;

template <class Isa>
struct CpuFormat<Isa, TensorFormat::kQ8_0> {
    static constexpr int kGroup = 32;  // weights that share a scale
    static constexpr bool kHasOffset = false;
    static VIGIL_DEVICE typename Isa::Ints quants(const char* block, int eighth) {
        return Isa::load_signed_bytes(block + 2 + 8 * eighth);
    }
    static VIGIL_DEVICE GroupScale scale(const char* block, int) { return {read_half<Isa>(block), 0.0f}; }
};

template <class Isa>
struct CpuFormat<Isa, TensorFormat::kQ4_0> {
    static constexpr int kGroup = 32;
    static constexpr bool kHasOffset = false;
    static VIGIL_DEVICE typename Isa::Ints quants(const char* block, int eighth) {
        return Isa::add(nibbles_of_32<Isa>(block + 2, eighth), -8);
    }
    static VIGIL_DEVICE GroupScale scale(const char* block, int) { return {read_half<Isa>(block), 0.0f}; }
};

template <class Isa>
struct CpuFormat<Isa, TensorFormat::kQ4_1> {
    static constexpr int kGroup = 32;
    static constexpr bool kHasOffset = true;
    static VIGIL_DEVICE typename Isa::Ints quants(const char* block, int eighth) {
        return nibbles_of_32<Isa>(block + 4, eighth);
    }
    static VIGIL_DEVICE GroupScale scale(const char* block, int) {
        return {read_half<Isa>(block), read_half<Isa>(block + 2)};
    }
};

template <class Isa>
struct CpuFormat<Isa, TensorFormat::kQ5_0> {
    static constexpr int kGroup = 32;
    static constexpr bool kHasOffset = false;
    static VIGIL_DEVICE typename Isa::Ints quants(const char* block, int eighth) {
        const auto fifth = Isa::shift_left(Isa::bits(read_as<std::uint32_t>(block + 2) >> 8 * eighth), 4);
        return Isa::add(Isa::join(nibbles_of_32<Isa>(block + 6, eighth), fifth), -16);
    }
    static VIGIL_DEVICE GroupScale scale(const char* block, int) { return {read_half<Isa>(block), 0.0f}; }
};

template <class Isa>
struct CpuFormat<Isa, TensorFormat::kQ5_1> {
    static constexpr int kGroup = 32;
    static constexpr bool kHasOffset = true;
    static VIGIL_DEVICE typename Isa::Ints quants(const char* block, int eighth) {
        const auto fifth = Isa::shift_left(Isa::bits(read_as<std::uint32_t>(block + 4) >> 8 * eighth), 4);
        return Isa::join(nibbles_of_32<Isa>(block + 8, eighth), fifth);
    }
    static VIGIL_DEVICE GroupScale scale(const char* block, int) {
        return {read_half<Isa>(block), read_half<Isa>(block + 2)};
    }
};

// Q4_K and Q5_K begin alike.
template <class Isa>
VIGIL_DEVICE GroupScale scale_k(const char* block, int group) {
    const char* packed = block + 4;
    const PackedPair pair = unpack_scales_k(read_as<std::uint32_t>(packed), read_as<std::uint32_t>(packed + 4),
                                            read_as<std::uint32_t>(packed + 8), group / 2);
    const int shift = group % 2 * 8;
    const float scale = read_half<Isa>(block) * static_cast<float>(pair.scales >> shift & 63u);
    return {scale, -(read_half<Isa>(block + 2) * static_cast<float>(pair.minima >> shift & 63u))};
}

template <class Isa>
struct CpuFormat<Isa, TensorFormat::kQ4_K> {
    static constexpr int kGroup = 32;
    static constexpr bool kHasOffset = true;
    static VIGIL_DEVICE typename Isa::Ints quants(const char* block, int eighth) {
        return nibbles_of_64<Isa>(block + 16, eighth);
    }
    static VIGIL_DEVICE GroupScale scale(const char* block, int group) { return scale_k<Isa>(block, group); }
};

template <class Isa>
struct CpuFormat<Isa, TensorFormat::kQ5_K> {
    static constexpr int kGroup = 32;
    static constexpr bool kHasOffset = true;
    static VIGIL_DEVICE typename Isa::Ints quants(const char* block, int eighth) {
        return Isa::join(nibbles_of_64<Isa>(block + 48, eighth),
                         Isa::shift_left(bits_of_256<Isa>(block + 16, eighth), 4));
    }
    static VIGIL_DEVICE GroupScale scale(const char* block, int group) { return scale_k<Isa>(block, group); }
};

template <class Isa>
struct CpuFormat<Isa, TensorFormat::kQ6_K> {
    static constexpr int kGroup = 16;
    static constexpr bool kHasOffset = false;
    static VIGIL_DEVICE typename Isa::Ints quants(const char* block, int eighth) {
        const auto bytes = Isa::load_bytes(block + eighth / 16 * 64 + eighth % 8 * 8);
        const auto low = eighth % 16 < 8 ? Isa::mask(bytes, 15) : Isa::shift_right(bytes, 4);
        return Isa::add(Isa::join(low, Isa::shift_left(pairs_of_128<Isa>(block + 128, eighth), 4)), -32);
    }
    static VIGIL_DEVICE GroupScale scale(const char* block, int group) {
        return {read_half<Isa>(block + 208) * static_cast<float>(read_as<std::int8_t>(block + 192 + group)), 0.0f};
    }
};

template <class Isa>
struct CpuFormat<Isa, TensorFormat::kQ2_K> {
    static constexpr int kGroup = 16;
    static constexpr bool kHasOffset = true;
    static VIGIL_DEVICE typename Isa::Ints quants(const char* block, int eighth) {
        return pairs_of_128<Isa>(block + 16, eighth);
    }
    static VIGIL_DEVICE GroupScale scale(const char* block, int group) {
        const int both = read_byte(block + group);
        return {read_half<Isa>(block + 80) * static_cast<float>(both & 15),
                -(read_half<Isa>(block + 82) * static_cast<float>(both >> 4))};
    }
};

template <class Isa>
struct CpuFormat<Isa, TensorFormat::kQ3_K> {
    static constexpr int kGroup = 16;
    static constexpr bool kHasOffset = false;
    static VIGIL_DEVICE typename Isa::Ints quants(const char* block, int eighth) {
        const auto third = Isa::shift_left(bits_of_256<Isa>(block, eighth), 2);
        return Isa::add(Isa::join(pairs_of_128<Isa>(block + 32, eighth), third), -4);
    }
    static VIGIL_DEVICE GroupScale scale(const char* block, int group) {
        const char* packed = block + 96;
        const int low = read_byte(packed + group % 8) >> group / 8 * 4 & 15;
        const int high = read_byte(packed + 8 + group % 4) >> group / 4 * 2 & 3;
        return {read_half<Isa>(block + 108) * static_cast<float>((low | high << 4) - 32), 0.0f};
    }
};

template <class Isa>
struct CpuFormat<Isa, TensorFormat::kIQ4_NL> {
    static constexpr int kGroup = 32;
    static constexpr bool kHasOffset = false;
    static VIGIL_DEVICE typename Isa::Ints quants(const char* block, int eighth) {
        return Isa::look_up(iq4_values(), nibbles_of_32<Isa>(block + 2, eighth));
    }
    static VIGIL_DEVICE GroupScale scale(const char* block, int) { return {read_half<Isa>(block), 0.0f}; }
};

template <class Isa>
struct CpuFormat<Isa, TensorFormat::kIQ4_XS> {
    static constexpr int kGroup = 32;
    static constexpr bool kHasOffset = false;
    static VIGIL_DEVICE typename Isa::Ints quants(const char* block, int eighth) {
        return Isa::look_up(iq4_values(), nibbles_of_32<Isa>(block + 8 + eighth / 4 * 16, eighth % 4));
    }
    static VIGIL_DEVICE GroupScale scale(const char* block, int group) {
        const int low = read_byte(block + 4 + group / 2) >> group % 2 * 4 & 15;
        const int high = read_as<std::uint16_t>(block + 2) >> 2 * group & 3;
        return {read_half<Isa>(block) * static_cast<float>((low | high << 4) - 32), 0.0f};
    }
};

template <class Isa>
struct CpuFormat<Isa, TensorFormat::kMXFP4> {
    static constexpr int kGroup = 32;
    static constexpr bool kHasOffset = false;
    static VIGIL_DEVICE typename Isa::Ints quants(const char* block, int eighth) {
        return Isa::look_up(mxfp4_doubled_values(), nibbles_of_32<Isa>(block + 1, eighth));
    }
    static VIGIL_DEVICE GroupScale scale(const char* block, int) {
        return {mxfp4_scale(static_cast<std::uint32_t>(read_byte(block))), 0.0f};
    }
};

// Names a block format's type to a function.
template <TensorFormat F>
struct FormatTag {
    static constexpr TensorFormat value = F;
};

// use(FormatTag) for the block format `f`; F16, BF16 and F32 are none.
template <class Use>
VIGIL_DEVICE auto with_block_format(TensorFormat f, Use&& use) {
    switch (f) {
        case TensorFormat::kQ4_0:
            return use(FormatTag<TensorFormat::kQ4_0>{});
        case TensorFormat::kQ4_1:
            return use(FormatTag<TensorFormat::kQ4_1>{});
        case TensorFormat::kQ5_0:
            return use(FormatTag<TensorFormat::kQ5_0>{});
        case TensorFormat::kQ5_1:
            return use(FormatTag<TensorFormat::kQ5_1>{});
        case TensorFormat::kQ4_K:
            return use(FormatTag<TensorFormat::kQ4_K>{});
        case TensorFormat::kQ5_K:
            return use(FormatTag<TensorFormat::kQ5_K>{});
        case TensorFormat::kQ6_K:
            return use(FormatTag<TensorFormat::kQ6_K>{});
        case TensorFormat::kQ2_K:
            return use(FormatTag<TensorFormat::kQ2_K>{});
        case TensorFormat::kQ3_K:
            return use(FormatTag<TensorFormat::kQ3_K>{});
        case TensorFormat::kIQ4_NL:
            return use(FormatTag<TensorFormat::kIQ4_NL>{});
        case TensorFormat::kIQ4_XS:
            return use(FormatTag<TensorFormat::kIQ4_XS>{});
        case TensorFormat::kMXFP4:
            return use(FormatTag<TensorFormat::kMXFP4>{});
        default:
            return use(FormatTag<TensorFormat::kQ8_0>{});
    }
}

// Eight neighbouring weights, exactly as the host's dequantize has them.
template <class Isa, TensorFormat F>
VIGIL_DEVICE typename Isa::Vector weights_of_block(const char* block, int eighth) {
    using Format = CpuFormat<Isa, F>;
    const GroupScale s = Format::scale(block, 8 * eighth / Format::kGroup);
    const auto scaled = Isa::multiply(Isa::broadcast(s.scale), Isa::to_floats(Format::quants(block, eighth)));
    // Without an offset nothing is added: it would make a negative zero positive.
    if constexpr (Format::kHasOffset)
        return Isa::add(scaled, Isa::broadcast(s.offset));
    else
        return scaled;
}

// row · x for a row of blocks. The scale is applied to the sum of a group's products, the offset to the sum of its x.
template <class Isa, TensorFormat F>
VIGIL_DEVICE typename Isa::Vector multiply_blocks(const char* row, int cols, const float* x) {
    using Format = CpuFormat<Isa, F>;
    constexpr int kWeights = block_weights(F);
    constexpr int kEighths = Format::kGroup / 8;
    auto products = Isa::zero();
    auto offsets = Isa::zero();
    for (int at = 0; at < cols; at += kWeights, row += block_bytes(F)) {
#pragma GCC unroll 16
        for (int group = 0; group < kWeights / Format::kGroup; ++group) {
            const float* from = x + at + group * Format::kGroup;
            const GroupScale s = Format::scale(row, group);
            auto x_sum = Isa::load(from);
            auto sum = Isa::multiply(Isa::to_floats(Format::quants(row, group * kEighths)), x_sum);
#pragma GCC unroll 4
            for (int e = 1; e < kEighths; ++e) {
                const auto x_here = Isa::load(from + 8 * e);
                sum = Isa::fused(Isa::to_floats(Format::quants(row, group * kEighths + e)), x_here, sum);
                if constexpr (Format::kHasOffset) x_sum = Isa::add(x_sum, x_here);
            }
            products = Isa::fused(Isa::broadcast(s.scale), sum, products);
            if constexpr (Format::kHasOffset) offsets = Isa::fused(Isa::broadcast(s.offset), x_sum, offsets);
        }
    }
    if constexpr (Format::kHasOffset) return Isa::add(products, offsets);
    return products;
}

}  // namespace vigil::device
