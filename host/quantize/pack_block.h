// One pack_block() per block: finds scales and quants for the Block::n_weights weights at `x`, all finite.
#pragma once

#include "host/gguf/blocks.h"

namespace vigil::quantize {

// pack_small.cpp
void pack_block(const float* x, gguf::BlockQ4_0& block);
void pack_block(const float* x, gguf::BlockQ4_1& block);
void pack_block(const float* x, gguf::BlockQ5_0& block);
void pack_block(const float* x, gguf::BlockQ5_1& block);
void pack_block(const float* x, gguf::BlockQ8_0& block);

// pack_k.cpp
void pack_block(const float* x, gguf::BlockQ4_K& block);
void pack_block(const float* x, gguf::BlockQ5_K& block);
void pack_block(const float* x, gguf::BlockQ6_K& block);

}  // namespace vigil::quantize
