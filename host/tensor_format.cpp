#include "host/tensor_format.h"

namespace vigil::host {

using device::TensorFormat;

TensorFormat format_of(gguf::TensorType type) {
    switch (type) {
        case gguf::TensorType::F32:
            return TensorFormat::kF32;
        case gguf::TensorType::F16:
            return TensorFormat::kF16;
        case gguf::TensorType::BF16:
            return TensorFormat::kBF16;
        case gguf::TensorType::Q8_0:
            return TensorFormat::kQ8_0;
        case gguf::TensorType::Q4_0:
            return TensorFormat::kQ4_0;
        case gguf::TensorType::Q4_1:
            return TensorFormat::kQ4_1;
        case gguf::TensorType::Q5_0:
            return TensorFormat::kQ5_0;
        case gguf::TensorType::Q5_1:
            return TensorFormat::kQ5_1;
        case gguf::TensorType::Q2_K:
            return TensorFormat::kQ2_K;
        case gguf::TensorType::Q3_K:
            return TensorFormat::kQ3_K;
        case gguf::TensorType::Q4_K:
            return TensorFormat::kQ4_K;
        case gguf::TensorType::Q5_K:
            return TensorFormat::kQ5_K;
        case gguf::TensorType::Q6_K:
            return TensorFormat::kQ6_K;
        case gguf::TensorType::IQ4_NL:
            return TensorFormat::kIQ4_NL;
        case gguf::TensorType::IQ4_XS:
            return TensorFormat::kIQ4_XS;
        case gguf::TensorType::MXFP4:
            return TensorFormat::kMXFP4;
    }
    return TensorFormat::kF32;  // not reached: the reader refuses other types
}

}  // namespace vigil::host
