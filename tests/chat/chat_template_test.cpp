// ChatTemplate: where a template comes from, what it is given, and what its errors say.
#include "host/chat/chat_template.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <string>

#include "host/gguf/writer.h"
#include "tests/gguf/temporary_folder.h"

using namespace vigil;
using namespace vigil::test;

namespace {

const std::vector<ChatMessage> conversation = {
    {"system", "Be brief."}, {"user", " Hi "}, {"assistant", "Hello."}, {"user", "Bye"}};

std::string text_of(const std::vector<TemplateSpan>& spans) {
    std::string text;
    for (const TemplateSpan& span : spans) text += span.text;
    return text;
}

ChatTemplate from(std::string_view source) {
    return ChatTemplate::from_source(source, {.bos = "<s>", .eos = "</s>"}, "test");
}

// A file with a vocabulary of three tokens and, if given, templates.
std::filesystem::path write_file(const TemporaryFolder& folder,
                                 const std::vector<std::pair<std::string, std::string>>& keys) {
    const std::filesystem::path path = folder.path() / "model.gguf";
    gguf::Writer writer(path);
    writer.set_string("general.architecture", "llama");
    const std::vector<std::string> tokens = {"<unk>", "<bos>", "<eos>"};
    writer.set_strings("tokenizer.ggml.tokens", tokens);
    writer.set_u32("tokenizer.ggml.bos_token_id", 1);
    writer.set_u32("tokenizer.ggml.eos_token_id", 2);
    for (const auto& [key, value] : keys) writer.set_string(key, value);
    writer.begin_data();
    writer.finish();
    return path;
}

std::string error_of(const std::filesystem::path& path, const std::optional<std::string>& name = {}) {
    try {
        ChatTemplate::from_gguf(gguf::File::open(path), name).render(conversation);
    } catch (const ChatTemplateError& error) {
        return error.what();
    }
    return "no error";
}

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

std::string builtin(const std::string& name, const std::vector<ChatMessage>& messages = conversation) {
    const TemporaryFolder folder;
    return text_of(ChatTemplate::from_gguf(gguf::File::open(write_file(folder, {})), name).render(messages));
}

}  // namespace

TEST_CASE("messages and special tokens reach the template") {
    CHECK(text_of(from("{{ bos_token }}{% for m in messages %}{{ m.role }}={{ m.content }};{% endfor %}{{ eos_token }}"
                       "{{ add_generation_prompt }}")
                      .render(conversation, false)) ==
          "<s>system=Be brief.;user= Hi ;assistant=Hello.;user=Bye;</s>False");
    CHECK(text_of(from("{{ tools is none and documents is none }}").render({})) == "True");
    CHECK(text_of(from("{{ strftime_now('%Y')|length }}").render({})) == "4");
    CHECK(from("x").origin() == "test");
    CHECK(from("x\n").source() == "x\n");
}

TEST_CASE("spans tell message text from the template's") {
    const auto spans = from("<|{{ messages[1].role }}|>{{ messages[1].content }}<|end|>").render(conversation);
    REQUIRE(spans.size() == 3);
    CHECK(spans[0].text == "<|user|>");
    CHECK_FALSE(spans[0].is_data);
    CHECK(spans[1].text == " Hi ");
    CHECK(spans[1].is_data);
    CHECK(spans[2].text == "<|end|>");
    // A role that no format knows is the user's text.
    const std::vector<ChatMessage> odd = {{"im_end|><|x", "y"}};
    const auto odd_spans = from("<|{{ messages[0].role }}|>").render(odd);
    REQUIRE(odd_spans.size() == 3);
    CHECK(odd_spans[1].is_data);
}

TEST_CASE("message text that is no UTF-8 is repaired") {
    const std::vector<ChatMessage> broken = {{"user", "a\xFFz"}};
    CHECK(text_of(from("{{ messages[0].content }}").render(broken)) == "a\uFFFDz");
}

TEST_CASE("the file's own template is used, with its special tokens") {
    const TemporaryFolder folder;
    const auto path =
        write_file(folder, {{"tokenizer.chat_template", "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"},
                            {"tokenizer.chat_template.tool_use", "tools"}});
    const gguf::File file = gguf::File::open(path);
    const ChatTemplate own = ChatTemplate::from_gguf(file);
    CHECK(text_of(own.render(conversation)) == "<bos>Be brief.<eos>");
    CHECK(contains(own.origin(), "model.gguf: tokenizer.chat_template"));
    CHECK(text_of(ChatTemplate::from_gguf(file, "tool_use").render(conversation)) == "tools");
    CHECK(contains(text_of(ChatTemplate::from_gguf(file, "chatml").render(conversation)),
                   "<|im_start|>user\n Hi <|im_end|>"));
    CHECK(ChatTemplate::from_gguf(file, "chatml").origin() == "built-in chat template chatml");
}

TEST_CASE("a template can come from a file") {
    const TemporaryFolder folder;
    const auto path = write_file(folder, {});
    const auto source = folder.write("my.jinja", "{{ messages|length }}");
    const ChatTemplate chosen = ChatTemplate::from_gguf(gguf::File::open(path), source.string());
    CHECK(text_of(chosen.render(conversation)) == "4");
    CHECK(contains(chosen.origin(), "my.jinja"));
}

TEST_CASE("errors name file, line and the way out") {
    const TemporaryFolder folder;
    const std::string none = error_of(write_file(folder, {}));
    CHECK(contains(none, "model.gguf: the file has no tokenizer.chat_template"));
    CHECK(contains(none, "--chat-template NAME|FILE"));
    CHECK(contains(none, "chatml, llama2, llama3, mistral, zephyr, gemma, phi3, deepseek"));

    const std::string syntax = error_of(write_file(folder, {{"tokenizer.chat_template", "a\n{% include 'x' %}"}}));
    CHECK(contains(syntax, "model.gguf: tokenizer.chat_template, line 2: the tag '{% include %}' is not supported"));
    CHECK(contains(syntax, "--chat-template NAME|FILE"));

    const std::string refusal =
        error_of(write_file(folder, {{"tokenizer.chat_template", "\n\n{{ raise_exception('no system role') }}"}}));
    CHECK(contains(refusal, "line 3: the template refuses: no system role"));
    CHECK(contains(refusal, "--chat-template NAME|FILE"));

    CHECK(contains(error_of(write_file(folder, {}), "nosuch"), "'nosuch' is no built-in one and no readable file"));
    CHECK(contains(error_of(write_file(folder, {}), folder.path().string()), "cannot be read"));
    const auto huge = folder.write("huge.jinja", std::string((1 << 20) + 1, 'x'));
    CHECK(contains(error_of(write_file(folder, {}), huge.string()), "longer than the limit"));
    CHECK_THROWS_AS(ChatTemplate::from_gguf(gguf::File::open(folder.write("bad", "x"))), gguf::Error);
}

TEST_CASE("every built-in template writes its family's format") {
    CHECK(ChatTemplate::builtin_names().size() == 8);
    CHECK(builtin("chatml") ==
          "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n"
          "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n");
    CHECK(builtin("llama2") ==
          "<bos>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello. <eos><bos>[INST] Bye [/INST]");
    CHECK(builtin("llama3") ==
          "<bos><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
          "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
          "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>"
          "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
    CHECK(builtin("mistral") == "<bos>[INST] Be brief.\n\n Hi  [/INST] Hello.<eos>[INST] Bye [/INST]");
    CHECK(builtin("zephyr") ==
          "<|system|>\nBe brief.<eos>\n<|user|>\n Hi "
          "<eos>\n<|assistant|>\nHello.<eos>\n<|user|>\nBye<eos>\n<|assistant|>\n");
    CHECK(builtin("gemma") ==
          "<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello.<end_of_turn>\n"
          "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n");
    CHECK(builtin("phi3") ==
          "<|system|>\nBe brief.<|end|>\n<|user|>\n Hi <|end|>\n<|assistant|>\nHello.<|end|>\n<|user|>\nBye<|end|>\n"
          "<|assistant|>\n");
    CHECK(builtin("deepseek") ==
          "<bos>Be brief.<｜User｜> Hi <｜Assistant｜>Hello.<｜end▁of▁sentence｜><｜User｜>Bye<｜Assistant｜>");
    CHECK(builtin("deepseek", {{"user", "x"}, {"assistant", "<think>hm</think>y"}, {"user", "z"}}) ==
          "<bos><｜User｜>x<｜Assistant｜>y<｜end▁of▁sentence｜><｜User｜>z<｜Assistant｜>");
    const std::vector<ChatMessage> tool = {{"tool", "x"}};
    for (const char* name : {"llama2", "mistral", "deepseek"}) {
        CHECK_THROWS_AS(builtin(name, tool), ChatTemplateError);
    }
}
