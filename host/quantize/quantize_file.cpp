#include "host/quantize/quantize_file.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <mutex>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "host/gguf/cursor.h"
#include "host/gguf/dequantize.h"
#include "host/gguf/finite.h"
#include "host/gguf/split.h"
#include "host/gguf/writer.h"
#include "host/quantize/pack.h"
#include "host/quantize/pieces.h"

namespace vigil::quantize {
namespace {

using gguf::TensorType;

constexpr std::uint64_t piece_weights = 1
                                        << 18;  // whole blocks of every type; 1 MiB as FP32, so that it stays in cache
constexpr std::uint32_t quantization_version = 2;  // of ggml's blocks since May 2023
constexpr std::string_view file_type_key = "general.file_type";
constexpr std::string_view version_key = "general.quantization_version";

bool is_quantised(TensorType type) {
    return gguf::traits(type).block_weights > 1;
}

void refuse_to_overwrite(const gguf::File& file, const std::filesystem::path& out) {
    std::vector<std::filesystem::path> sources{file.path()};
    if (const auto name = gguf::parse_split_name(file.path())) {
        for (std::uint32_t n = 1; n <= name->count; ++n)
            sources.push_back(gguf::split_path(name->prefix, n, name->count));
    }
    for (const auto& source : sources) {
        std::error_code absent;
        if (std::filesystem::equivalent(source, out, absent)) {
            throw file.error(fmt::format("{} would overwrite the model that is read", out.string()));
        }
    }
}

// What the mixtures' rules need; they are known for dense models of these architectures only.
ModelOutline outline_of(const gguf::File& file, const Recipe& recipe) {
    const std::string architecture(file.get_string("general.architecture", ""));
    if (recipe.mixture) {
        constexpr std::array<std::string_view, 3> known{"llama", "qwen2", "qwen3"};
        const bool has_experts = file.get_u32(architecture + ".expert_count", 0) > 0;
        if (std::find(known.begin(), known.end(), architecture) == known.end() || has_experts) {
            throw file.error(
                fmt::format("the rules of {} are known for llama, qwen2 and qwen3 without experts, not for "
                            "architecture {}{}; {} fits any model",
                            recipe.name, gguf::in_quotes(architecture), has_experts ? " with experts" : "",
                            gguf::traits(recipe.base).name));
        }
    }
    const auto n_heads = file.get_u32(architecture + ".attention.head_count", 0);
    return {.n_layers = file.get_u32(architecture + ".block_count", 0),
            .tied = file.find_tensor("output.weight") == nullptr,
            .grouped_heads = file.get_u32(architecture + ".attention.head_count_kv", n_heads) != n_heads};
}

std::uint32_t alignment_of(const gguf::File& file) {
    return file.get_u32("general.alignment", gguf::Writer::default_alignment);
}

void copy_metadata(const gguf::File& file, const Recipe& recipe, gguf::Writer& writer) {
    for (const auto& entry : file.metadata()) {
        const bool is_ours = entry.key == file_type_key || entry.key == version_key;
        if (!is_ours && !entry.key.starts_with("split.")) writer.copy(entry);
    }
    writer.set_u32(file_type_key, recipe.file_type);
    writer.set_u32(version_key, quantization_version);
}

// A part of a tensor that one thread packs in one go.
struct Piece {
    std::size_t tensor;
    std::uint64_t first;
    std::uint64_t count;
};

std::span<const std::byte> blocks_of(const gguf::TensorInfo& tensor, const Piece& piece) {
    const auto& format = gguf::traits(tensor.type);
    return tensor.data.subspan(piece.first / format.block_weights * format.block_bytes,
                               piece.count / format.block_weights * format.block_bytes);
}

class FileQuantizer {
   public:
    FileQuantizer(const gguf::File& file, const Recipe& recipe, const FileOptions& options, gguf::Writer& writer,
                  const Progress& progress)
        : file_(file), options_(options), writer_(writer), progress_(progress) {
        const ModelOutline model = outline_of(file, recipe);
        copy_metadata(file, recipe, writer);
        for (const auto& tensor : file.tensors()) plan(tensor, recipe, model);
        summary_.n_tensors = types_.size();
        summary_.bytes_read = file.tensor_bytes();
    }

    std::optional<FileSummary> run() {
        writer_.begin_data();
        for_each_piece(pieces_.size(), options_.n_threads, [this] {
            return [this, weights = std::vector<float>(), blocks = std::vector<std::byte>()](std::size_t i) mutable {
                if (!stopped_) quantize(pieces_[i], weights, blocks);
            };
        });
        if (stopped_) return std::nullopt;
        writer_.finish();
        return summary_;
    }

   private:
    void plan(const gguf::TensorInfo& tensor, const Recipe& recipe, const ModelOutline& model) {
        TensorType type = tensor.type;
        if (is_quantizable(tensor.name, tensor.dims)) {
            type = choose_type(recipe, tensor.name, tensor.cols(), model, options_.output);
            if (tensor.cols() % gguf::traits(recipe.base).block_weights != 0) ++summary_.n_fallbacks;
        }
        if (type != tensor.type && is_quantised(type) && is_quantised(tensor.type) && !options_.requantize) {
            throw file_.error(
                fmt::format("tensor {}: is {} already, and {} from it has the errors of both; best is to "
                            "begin with F16, BF16 or F32 (--requantize does it all the same)",
                            gguf::in_quotes(tensor.name), gguf::traits(tensor.type).name, gguf::traits(type).name));
        }
        const std::uint64_t n_weights = tensor.cols() * tensor.rows();
        const auto index = writer_.add_tensor(tensor.name, type, tensor.dims);
        types_.push_back(type);
        summary_.n_weights += n_weights;
        summary_.bytes_written += writer_.tensor_bytes(index);
        for (std::uint64_t first = 0; first < n_weights; first += piece_weights) {
            pieces_.push_back({index, first, std::min(piece_weights, n_weights - first)});
        }
    }

    void quantize(const Piece& piece, std::vector<float>& weights, std::vector<std::byte>& blocks) {
        const auto& tensor = file_.tensors()[piece.tensor];
        const auto source = blocks_of(tensor, piece);
        gguf::require_finite(file_, tensor, piece.first / gguf::traits(tensor.type).block_weights, source);
        const auto& format = gguf::traits(types_[piece.tensor]);
        const std::uint64_t offset = piece.first / format.block_weights * format.block_bytes;
        if (format.type == tensor.type) {
            writer_.write(piece.tensor, offset, source);
        } else {
            weights.resize(piece.count);
            blocks.resize(piece.count / format.block_weights * format.block_bytes);
            gguf::dequantize(tensor.type, source, weights);
            try {
                pack(format.type, weights, blocks);
            } catch (const gguf::Error& error) {
                throw file_.error(fmt::format("tensor {}: from weight {} on: {}", gguf::in_quotes(tensor.name),
                                              piece.first, error.what()));
            }
            writer_.write(piece.tensor, offset, blocks);
        }
        const std::lock_guard lock(mutex_);
        done_ += source.size();
        if (progress_ && !progress_(done_, summary_.bytes_read)) stopped_ = true;
    }

    const gguf::File& file_;
    const FileOptions& options_;
    gguf::Writer& writer_;
    const Progress& progress_;
    std::vector<TensorType> types_;
    std::vector<Piece> pieces_;
    FileSummary summary_;
    std::atomic<bool> stopped_{false};
    std::mutex mutex_;  // of what follows, and around the calls of progress_
    std::size_t done_ = 0;
};

}  // namespace

std::optional<FileSummary> quantize_file(const std::filesystem::path& in, const std::filesystem::path& out,
                                         const Recipe& recipe, const FileOptions& options, const Progress& progress) {
    const auto file = gguf::File::open(in);
    if (!can_pack(recipe.base)) throw file.error(fmt::format("there is no quantiser for {}", recipe.name));
    refuse_to_overwrite(file, out);
    gguf::Writer writer(out, alignment_of(file));
    return FileQuantizer(file, recipe, options, writer, progress).run();
}

}  // namespace vigil::quantize
