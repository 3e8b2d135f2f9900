// Finding what is infinite or NaN in tensor data: such a number would spread over every token, so it is refused at
// load.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "host/gguf/gguf.h"

namespace vigil::gguf {

struct NotFinite {
    std::size_t block;  // counted from the start of the given data; for F32, F16 and BF16 a block is one weight
    std::string what;   // "the scale d is inf"
};

// The first block with a scale that is infinite or NaN; for F32, F16 and BF16 the first such weight. An exponent of
// MXFP4 above 252 counts as infinite: its largest weights pass FP32's range, and 255 is NaN by the specification.
// `blocks` is whole blocks of `type`.
std::optional<NotFinite> find_not_finite(TensorType type, std::span<const std::byte> blocks);

// Throws File::error() with tensor, block and value if there is one in `blocks`, the part of `tensor` that begins with
// its block `first_block`.
void require_finite(const File& file, const TensorInfo& tensor, std::uint64_t first_block,
                    std::span<const std::byte> blocks);

}  // namespace vigil::gguf
