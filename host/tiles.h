// From the rows of a GGUF file to the tiles of the Hopper path (device/sm90/tiles.h), which hold the same bits in
// another order.
#pragma once

#include <cstddef>
#include <span>

#include "device/sm90/tiles.h"

namespace vigil::host {

// Packs 16 rows of a matrix in the format and shape of `w`. `rows` are the file's bytes from the first of them on, a
// whole number of rows; those that are missing at the matrix's end become zeros. `tile` takes tiles::tile_bytes.
void pack_tile(const device::Tensor& w, std::span<const std::byte> rows, std::span<std::byte> tile);

}  // namespace vigil::host
