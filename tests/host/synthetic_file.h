// A synthetic model as a file that is gone as soon as it is mapped.
#pragma once

#include "bench/synth/model_spec.h"
#include "bench/synth/write_model.h"
#include "host/gguf/gguf.h"
#include "tests/gguf/temporary_folder.h"

namespace vigil::test {

inline gguf::File open_synthetic(const synth::ModelSpec& spec) {
    const TemporaryFolder folder;
    const std::filesystem::path path = folder.path() / "model.gguf";
    synth::write_model(spec, path);
    return gguf::File::open(path);
}

}  // namespace vigil::test
