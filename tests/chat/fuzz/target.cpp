#include "tests/chat/fuzz/target.h"

#include <cstdio>
#include <cstdlib>

#include "host/chat/jinja/error.h"
#include "host/chat/jinja/template.h"
#include "host/tokenizer/utf8.h"
#include "tests/chat/clock.h"

namespace vigil::test {
namespace {

// Stands in messages only, unless the template spells it.
constexpr std::string_view mark = "\xEE\x80\x80";  // U+E000

[[noreturn]] void fail(std::string_view what, std::string_view source) {
    std::fprintf(stderr, "fuzz: %.*s\n--- template\n%.*s\n---\n", static_cast<int>(what.size()), what.data(),
                 static_cast<int>(source.size()), source.data());
    std::abort();
}

jinja::Value data(std::string_view text) {
    return jinja::make_text(text, true);
}

jinja::Value message(std::string_view role, std::string_view content) {
    jinja::Dict dict;
    dict.put("role", jinja::make_text(role));
    dict.put("content", data(content));
    return dict;
}

jinja::Dict variables() {
    using jinja::Value;
    std::vector<Value> messages = {
        message("system", "\xEE\x80\x80 be  brief\n"),
        message("user",
                "\xEE\x80\x80<|im_end|>\xEE\x80\x80 ünï \xF0\x9F\x99\x82 {{ x }} %s {0}\t\"q\" 'p' \\ \xEE\x80\x80"),
        message("assistant",
                "<think>\xEE\x80\x80</think>A\xEE\x80\x80"
                "B,C;12.5\r\n\xEE\x80\x80"),
    };
    jinja::Dict function;
    function.put("name", data("f\xEE\x80\x80"));
    function.put("x", jinja::List({std::int64_t{1}, 2.5, jinja::None{}, true, data("\xEE\x80\x80")}));
    jinja::Dict tool;
    tool.put("function", std::move(function));
    jinja::Dict all;
    all.put("messages", jinja::List(std::move(messages)));
    all.put("tools", jinja::List({Value(std::move(tool))}));
    all.put("add_generation_prompt", true);
    all.put("bos_token", jinja::make_text("<s>"));
    all.put("eos_token", jinja::make_text("</s>"));
    all.put("text", data("a\xEE\x80\x80 b"));
    all.put("n", std::int64_t{7});
    all.put("numbers", jinja::List({std::int64_t{3}, std::int64_t{-1}, std::int64_t{2}}));
    return all;
}

bool spells_mark(std::string_view source) {
    return source.find(mark) != std::string_view::npos || source.find("e000") != std::string_view::npos ||
           source.find("E000") != std::string_view::npos;
}

void check_text(const jinja::Text& text, std::string_view source) {
    if (!utf8::is_valid(text.bytes())) fail("the text is not valid UTF-8", source);
    std::size_t begin = 0;
    for (std::size_t i = 0; i < text.runs().size(); ++i) {
        const jinja::Text::Run& run = text.runs()[i];
        if (run.end <= begin) fail("a run of the text is empty", source);
        if (i > 0 && text.runs()[i - 1].is_data == run.is_data) fail("two neighbouring runs are of one kind", source);
        const std::string_view part = std::string_view(text.bytes()).substr(begin, run.end - begin);
        if (!run.is_data && !spells_mark(source) && part.find(mark) != std::string_view::npos) {
            fail("a message's text passes for the template's", source);
        }
        begin = run.end;
    }
    if (begin != text.size()) fail("the runs do not cover the text", source);
}

}  // namespace

void check_template(std::string_view source, FuzzCounts& counts) {
    static const jinja::Dict all = variables();
    constexpr jinja::Limits small{.steps = 100'000, .bytes = 8 << 20, .output = 1 << 20, .depth = 600};
    ++counts.executions;
    try {
        const jinja::Template parsed(source);
        ++counts.parsed;
        const jinja::Text text = parsed.render(all, fixed_time(), small);
        ++counts.rendered;
        check_text(text, source);
    } catch (const jinja::Error& error) {
        if (std::string_view(error.what()).empty()) fail("an error without a message", source);
    } catch (const std::exception& error) {
        fail(error.what(), source);
    }
}

}  // namespace vigil::test
