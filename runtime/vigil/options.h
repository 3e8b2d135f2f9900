// The flags that several commands share: how a model is run, how text is read and how tokens are sampled.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "runtime/dispatch_name.h"
#include "runtime/engine.h"

namespace vigil::program {

struct ModelOptions {
    std::string path;
    std::string dispatch = "persistent";
    std::string pre_tokenizer;
    bool no_cublas = false;
    EngineOptions engine;  // what needs no translation; its ctx_size is the default of -c
};

void add_model_path(CLI::App& command, std::string& path);
// --pre NAME; empty: as the file says.
void add_pre_tokenizer(CLI::App& command, std::string& name);
// --device and --threads.
void add_device_options(CLI::App& command, EngineOptions& options);
// MODEL and the flags of context and device.
void add_model_options(CLI::App& command, ModelOptions& options);

// Loads the model with a progress bar where standard error is a terminal; warnings go to standard error.
Engine load_engine(const ModelOptions& options, std::int32_t logits_rows = 0);

struct SamplingOptions {
    std::string seed = "-1";
    SamplingParams params;
};

void add_sampling_options(CLI::App& command, SamplingOptions& options);
// The parameters with the seed that was given, or one drawn now for -1.
SamplingParams choose_seed(const SamplingOptions& options);

struct EncodingOptions {
    bool no_bos = false;
    bool no_special = false;
    EncodeOptions encode() const { return {.add_bos = !no_bos, .parse_special = !no_special}; }
};

void add_encoding_options(CLI::App& command, EncodingOptions& options);

}  // namespace vigil::program
