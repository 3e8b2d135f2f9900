// A GGUF model to another file with its matrices in other tensor types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "host/quantize/recipe.h"

namespace vigil::quantize {

struct FileOptions {
    OutputMatrix output = OutputMatrix::as_llama_cpp;
    bool requantize = false;  // also from types that are quantised already, which adds the second error to the first
    unsigned n_threads = 0;   // 0: one per processor
};

// What became of a file.
struct FileSummary {
    std::size_t n_tensors = 0;
    std::size_t n_fallbacks = 0;   // matrices whose columns do not fit the recipe's blocks
    std::uint64_t n_weights = 0;   // of all tensors
    std::uint64_t bytes_read = 0;  // of tensor data
    std::uint64_t bytes_written = 0;
};

// Called after each piece, by one thread at a time, with bytes of the input; false ends the work.
using Progress = std::function<bool(std::size_t done, std::size_t total)>;

// Writes the model `in` (one file or a split set) to the one file `out`: the matrices by `recipe`, all other tensors
// and all metadata as they are, except general.file_type and general.quantization_version, which tell of the new types,
// and the keys of split sets. The bytes do not depend on the number of threads. Weights are held in pieces: memory does
// not grow with the model. `out` appears when it is whole; if progress ends the work there is no result and no file.
//
// Throws gguf::Error with file and tensor for a recipe that can't be packed or has no rules for the model, a source
// that is quantised already (see FileOptions), weights that are infinite, NaN or too large, an `out` that is part of
// `in`, and for what the system refuses.
std::optional<FileSummary> quantize_file(const std::filesystem::path& in, const std::filesystem::path& out,
                                         const Recipe& recipe, const FileOptions& options, const Progress& progress);

}  // namespace vigil::quantize
