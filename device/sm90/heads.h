// Whose heads the Hopper path's own attention is made for; other models take the portable one there, too.
#pragma once

#include "device/model.h"

namespace vigil::device::sm90 {

constexpr int kMaxGroupHeads = 32;  // query heads that share a KV head

VIGIL_HD bool takes_heads(const ModelConfig& c) {
    return (c.head_dim == 64 || c.head_dim == 128) && c.n_heads <= kMaxGroupHeads * c.n_kv_heads;
}

}  // namespace vigil::device::sm90
