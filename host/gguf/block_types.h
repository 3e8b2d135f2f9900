// From a tensor type to the struct of its blocks: the one list that unpacking, packing and checks share.
#pragma once

#include "host/gguf/blocks.h"
#include "host/gguf/gguf.h"

namespace vigil::gguf {

// Calls `use.template operator()<Block>()` for the block of a quantised type. False, and no call, for F32, F16 and
// BF16, which have none.
template <typename Use>
bool with_block_of(TensorType type, Use&& use) {
    switch (type) {
        case TensorType::F32:
        case TensorType::F16:
        case TensorType::BF16:
            return false;
        case TensorType::Q4_0:
            use.template operator()<BlockQ4_0>();
            return true;
        case TensorType::Q4_1:
            use.template operator()<BlockQ4_1>();
            return true;
        case TensorType::Q5_0:
            use.template operator()<BlockQ5_0>();
            return true;
        case TensorType::Q5_1:
            use.template operator()<BlockQ5_1>();
            return true;
        case TensorType::Q8_0:
            use.template operator()<BlockQ8_0>();
            return true;
        case TensorType::Q2_K:
            use.template operator()<BlockQ2_K>();
            return true;
        case TensorType::Q3_K:
            use.template operator()<BlockQ3_K>();
            return true;
        case TensorType::Q4_K:
            use.template operator()<BlockQ4_K>();
            return true;
        case TensorType::Q5_K:
            use.template operator()<BlockQ5_K>();
            return true;
        case TensorType::Q6_K:
            use.template operator()<BlockQ6_K>();
            return true;
        case TensorType::IQ4_NL:
            use.template operator()<BlockIQ4_NL>();
            return true;
        case TensorType::IQ4_XS:
            use.template operator()<BlockIQ4_XS>();
            return true;
        case TensorType::MXFP4:
            use.template operator()<BlockMXFP4>();
            return true;
    }
    return false;
}

}  // namespace vigil::gguf
