// Rotary position embedding's frequencies, derived from a GGUF file's metadata.
// Plain: Su et al., arXiv 2104.09864. Linear ("position interpolation"): Chen et al., arXiv 2306.15595. Llama 3: the
// tensor rope_freqs.weight holds what each frequency is divided by. YaRN: Peng et al., arXiv 2309.00071, with ggml's
// rounding of the bounds to whole pairs and its keys.
#pragma once

#include <string>
#include <vector>

#include "host/gguf/gguf.h"

namespace vigil::reference {

struct Rope {
    std::vector<double> frequencies;  // [rotary_dim / 2] radians per position
    double magnitude = 1.0;           // multiplies sine and cosine (YaRN)
};

// `arch` is general.architecture, the prefix of the keys. Throws gguf::Error for a scaling it does not know.
Rope read_rope(const gguf::File& file, const std::string& arch, int rotary_dim);

}  // namespace vigil::reference
