// The word for each dispatch, as `--dispatch` takes it and reports show it.
#pragma once

#include <string_view>

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

// The dispatch of that name; persistent for any other text.
constexpr host::Dispatch dispatch_named(std::string_view name) {
    for (const host::Dispatch dispatch : {host::Dispatch::graph, host::Dispatch::launch})
        if (name == name_of(dispatch)) return dispatch;
    return host::Dispatch::persistent;
}

}  // namespace vigil
