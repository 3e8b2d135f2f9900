// vigil inspect: what a GGUF file holds, without loading it.
#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "host/gguf/gguf.h"
#include "host/gguf/types.h"
#include "host/tokenizer/quoted.h"
#include "runtime/vigil/commands.h"
#include "runtime/vigil/json.h"
#include "runtime/vigil/options.h"
#include "runtime/vigil/standard_output.h"

namespace vigil::program {
namespace {

constexpr std::size_t kShownElements = 6;

// The double whose shortest text is that of the float: 1e-05 and not 9.999999747378752e-06.
double shortest(double value, gguf::ValueType type) {
    if (type != gguf::ValueType::float32) return value;
    return std::stod(fmt::format("{}", static_cast<float>(value)));
}

Json element(const gguf::Array& array, std::size_t i) {
    switch (array.element_type()) {
        case gguf::ValueType::string:
            return array.string(i);
        case gguf::ValueType::float32:
        case gguf::ValueType::float64:
            return shortest(array.floating(i), array.element_type());
        case gguf::ValueType::boolean:
            return array.integer(i) != 0;
        default:
            return array.integer(i);
    }
}

Json to_json(const gguf::KeyValue& kv) {
    return std::visit(
        [&kv](const auto& value) -> Json {
            using T = std::decay_t<decltype(value)>;
            if constexpr (std::is_same_v<T, gguf::Array>) {
                Json elements = Json::array();
                for (std::size_t i = 0; i < value.size(); ++i) elements.push_back(element(value, i));
                return elements;
            } else if constexpr (std::is_same_v<T, double>) {
                return shortest(value, kv.type);
            } else {
                return value;
            }
        },
        kv.value);
}

std::string type_of(const gguf::KeyValue& kv) {
    const auto* array = std::get_if<gguf::Array>(&kv.value);
    if (array == nullptr) return std::string(gguf::value_type_name(kv.type));
    return fmt::format("{}[{}]", gguf::value_type_name(array->element_type()), array->size());
}

std::string describe(const Json& value) {
    return value.is_string() ? vigil::quoted(value.get<std::string>())
                             : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// On one line, abbreviated.
std::string describe(const gguf::KeyValue& kv) {
    const auto* array = std::get_if<gguf::Array>(&kv.value);
    if (array == nullptr) return describe(to_json(kv));
    std::string text;
    for (std::size_t i = 0; i < std::min(array->size(), kShownElements); ++i)
        text += (i > 0 ? ", " : "") + describe(element(*array, i));
    return fmt::format("[{}{}]", text, array->size() > kShownElements ? ", …" : "");
}

std::string to_text(const gguf::File& file) {
    std::string text =
        fmt::format("{}: GGUF version {}, {} keys, {} tensors, {} bytes of tensors\n\n", file.path().string(),
                    file.version(), file.metadata().size(), file.tensors().size(), file.tensor_bytes());
    std::size_t name_width = 0;
    std::size_t type_width = 0;
    for (const gguf::KeyValue& kv : file.metadata()) {
        name_width = std::max(name_width, kv.key.size());
        type_width = std::max(type_width, type_of(kv).size());
    }
    for (const gguf::KeyValue& kv : file.metadata())
        text += fmt::format("{:<{}}  {:<{}}  {}\n", kv.key, name_width, type_of(kv), type_width, describe(kv));
    text += "\n";
    name_width = 0;
    for (const gguf::TensorInfo& tensor : file.tensors()) name_width = std::max(name_width, tensor.name.size());
    for (const gguf::TensorInfo& tensor : file.tensors()) {
        const gguf::TypeTraits& type = gguf::traits(tensor.type);
        text += fmt::format("{:<{}}  {:<6} {:>12} bytes  [{}]\n", tensor.name, name_width, type.name,
                            tensor.data.size(), fmt::join(tensor.dims, ", "));
    }
    return text;
}

std::string to_json_text(const gguf::File& file) {
    Json metadata = Json::object();
    for (const gguf::KeyValue& kv : file.metadata()) metadata[kv.key] = {{"type", type_of(kv)}, {"value", to_json(kv)}};
    Json tensors = Json::array();
    for (const gguf::TensorInfo& tensor : file.tensors())
        tensors.push_back({{"name", tensor.name},
                           {"type", gguf::traits(tensor.type).name},
                           {"shape", tensor.dims},
                           {"bytes", tensor.data.size()}});
    return json_line({{"file", file.path().string()},
                      {"version", file.version()},
                      {"tensor_bytes", file.tensor_bytes()},
                      {"metadata", std::move(metadata)},
                      {"tensors", std::move(tensors)}});
}

}  // namespace

Action add_inspect(CLI::App& app) {
    struct Options {
        std::string path;
        bool json = false;
    };
    const auto o = std::make_shared<Options>();
    CLI::App& command = *app.add_subcommand("inspect", "Show a model's metadata and tensors (columns first)");
    add_model_path(command, o->path);
    command.add_flag("--json", o->json, "One JSON object, with every array whole");
    return [o] {
        const gguf::File file = gguf::File::open(o->path);
        write_out(o->json ? to_json_text(file) : to_text(file));
        return static_cast<int>(kSuccess);
    };
}

}  // namespace vigil::program
