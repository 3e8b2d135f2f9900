// The word for each dispatch, as `--dispatch` takes it and reports show it.
#pragma once

#include "host/device.h"

namespace vigil {

constexpr const char* name_of(host::Dispatch dispatch) {
    switch (dispatch) {
        case host::Dispatch::graph:
            return "graph";
        case host::Dispatch::launch:
            return "launch";
        case host::Dispatch::persistent:
            break;
    }
    return "persistent";
}

}  // namespace vigil
