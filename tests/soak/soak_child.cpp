// The host that host_death_test stops and kills: runs jobs on a resident kernel and says on standard output how it
// goes.
//     soak_child once [MODEL]       one job; "ran" when it is done
//     soak_child endless [MODEL]    jobs for ever: "generating" after the first; "left: host gone" (or the fault's
//     number)
//                                   whenever the kernel has left by itself, and "unchanged" when the job under way has
//                                   ended with the tokens of the first after all; exit code 1 if they ever differ
// Without MODEL it makes a small one. The device is what $VIGIL_TEST_DEVICE names.
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "tests/phases/test_model.h"
#include "tests/reference/harness.h"
#include "tests/soak/play_host.h"

namespace {

using vigil::reference::Harness;
using vigil::ring::Fault;
using vigil::soak::finish;
using vigil::soak::submit;

constexpr int kTokens = 500;
constexpr std::chrono::seconds kLease{2};
const std::vector<std::int32_t> kPrompt{5, 17, 301, 42};

void say(const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
}

int run_endlessly(Harness& harness) {
    submit(harness, kPrompt, kTokens);
    const auto expected = finish(harness);
    say("generating");
    for (;;) {
        bool left = false;
        submit(harness, kPrompt, kTokens);
        const auto tokens = finish(harness, [&](Fault fault) {
            left = true;
            say("left: " +
                (fault == Fault::kHostGone ? "host gone" : std::to_string(static_cast<std::uint32_t>(fault))));
        });
        if (tokens != expected) {
            say("the tokens differ");
            return 1;
        }
        if (left) say("unchanged");
    }
}

int run(const std::string& mode, const vigil::gguf::File& file) {
    Harness harness(file, vigil::reference::test_device(), {.max_seq_len = 1024, .lease = kLease});
    harness.launch();
    if (mode == "endless") return run_endlessly(harness);
    submit(harness, kPrompt, kTokens);
    const bool whole = finish(harness).size() == kTokens;
    say(whole ? "ran" : "tokens are missing");
    return whole ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string mode = argc > 1 ? argv[1] : "";
    if (argc > 3 || (mode != "once" && mode != "endless")) {
        std::fprintf(stderr, "usage: soak_child once|endless [MODEL]\n");
        return 2;
    }
    try {
        if (argc > 2) return run(mode, vigil::gguf::File::open(argv[2]));
        const vigil::phases::TestModel model(vigil::phases::small_spec());
        return run(mode, model.file());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "soak_child: %s\n", error.what());
        return 1;
    }
}
