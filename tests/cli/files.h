// Files of a test run: a folder that goes away with it, and the synthetic model in it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace vigil::test {

// A path in the test run's own folder that no call before has returned.
std::filesystem::path new_path(std::string_view name);
std::filesystem::path write_file(std::string_view name, std::string_view content);
std::string read_file(const std::filesystem::path& path);

// A synthetic model of the preset `tiny`, made once.
std::string tiny_model();

// `--device` with what $VIGIL_TEST_DEVICE names, cpu by default, behind `arguments`.
std::vector<std::string> on_device(std::vector<std::string> arguments);

}  // namespace vigil::test
