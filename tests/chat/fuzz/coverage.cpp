// The same target under clang's libFuzzer, which is guided by coverage (not part of the build; see
// docs/chat_templates.md).
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tests/chat/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    static vigil::test::FuzzCounts counts;
    vigil::test::check_template({reinterpret_cast<const char*>(bytes), size}, counts);
    return 0;
}
