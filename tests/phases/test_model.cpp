#include "tests/phases/test_model.h"

#include <cstdlib>
#include <stdexcept>

#include "bench/synth/write_model.h"
#include "host/gguf/dequantize.h"
#include "host/gguf/writer.h"
#include "host/quantize/pack.h"

namespace vigil::phases {
namespace {

std::filesystem::path make_folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "vigil-phases-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("can't make a folder like " + pattern);
    return pattern;
}

void copy_with(const gguf::File& from, const std::filesystem::path& path, const TestModel::Changes& changes) {
    gguf::Writer writer(path);
    for (const auto& entry : from.metadata())
        if (!changes.keys.contains(entry.key)) writer.copy(entry);
    for (const auto& [key, value] : changes.keys) writer.set_u32(key, value);
    const auto type_of = [&](const gguf::TensorInfo& tensor) {
        const auto found = changes.types.find(tensor.name);
        return found != changes.types.end() ? found->second : tensor.type;
    };
    for (const auto& tensor : from.tensors()) writer.add_tensor(tensor.name, type_of(tensor), tensor.dims);
    writer.begin_data();
    for (std::size_t i = 0; i < from.tensors().size(); ++i) {
        const auto& tensor = from.tensors()[i];
        std::vector<std::byte> data(tensor.data.begin(), tensor.data.end());
        if (type_of(tensor) != tensor.type) {
            std::vector<float> values(tensor.cols() * tensor.rows());
            gguf::dequantize(tensor.type, tensor.data, values);
            data.resize(writer.tensor_bytes(i));
            quantize::pack(type_of(tensor), values, data);
        }
        if (changes.edit) changes.edit(tensor.name, data);
        writer.write(i, 0, data);
    }
    writer.finish();
}

}  // namespace

TestModel::TestModel(const synth::ModelSpec& spec) : folder_(make_folder()) {
    synth::write_model(spec, folder_ / "model.gguf", 1);
    file_ = gguf::File::open(folder_ / "model.gguf");
}

TestModel::TestModel(const synth::ModelSpec& spec, const Changes& changes) : TestModel(spec) {
    copy_with(*file_, folder_ / "changed.gguf", changes);
    file_ = gguf::File::open(folder_ / "changed.gguf");
}

TestModel::~TestModel() {
    file_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
}

synth::ModelSpec small_spec(const std::string& architecture) {
    synth::ModelSpec spec;
    spec.architecture = architecture;
    spec.ffn_dim = 512;
    return spec;
}

}  // namespace vigil::phases
