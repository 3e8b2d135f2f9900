// The formats are the published ones of the model families they are named after; the templates are vigil's own.
#include "host/chat/builtin_templates.h"

namespace vigil {
namespace {

constexpr std::string_view chatml = R"({%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\n' -}}
{%- endif -%})";

// The system prompt stands inside the first user turn; every pair of turns is a sequence of its own.
constexpr std::string_view llama2 = R"({%- set ns = namespace(system='') -%}
{%- for message in messages -%}
    {%- if message.role == 'system' -%}
        {%- set ns.system = '<<SYS>>\n' + message.content + '\n<</SYS>>\n\n' -%}
    {%- elif message.role == 'user' -%}
        {{- bos_token + '[INST] ' + ns.system + message.content | trim + ' [/INST]' -}}
        {%- set ns.system = '' -%}
    {%- elif message.role == 'assistant' -%}
        {{- ' ' + message.content | trim + ' ' + eos_token -}}
    {%- else -%}
        {{- raise_exception('the llama2 format knows the roles system, user and assistant') -}}
    {%- endif -%}
{%- endfor -%})";

constexpr std::string_view llama3 = R"({{- bos_token -}}
{%- for message in messages -%}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content | trim + '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}
{%- endif -%})";

// There is no system turn: its text stands in front of the first user's.
constexpr std::string_view mistral = R"({{- bos_token -}}
{%- set ns = namespace(system='') -%}
{%- for message in messages -%}
    {%- if message.role == 'system' -%}
        {%- set ns.system = message.content + '\n\n' -%}
    {%- elif message.role == 'user' -%}
        {{- '[INST] ' + ns.system + message.content + ' [/INST]' -}}
        {%- set ns.system = '' -%}
    {%- elif message.role == 'assistant' -%}
        {{- ' ' + message.content | trim + eos_token -}}
    {%- else -%}
        {{- raise_exception('the mistral format knows the roles system, user and assistant') -}}
    {%- endif -%}
{%- endfor -%})";

constexpr std::string_view zephyr = R"({%- for message in messages -%}
{{- '<|' + message.role + '|>\n' + message.content + eos_token + '\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|assistant|>\n' -}}
{%- endif -%})";

constexpr std::string_view gemma = R"({{- bos_token -}}
{%- set ns = namespace(system='') -%}
{%- for message in messages -%}
    {%- if message.role == 'system' -%}
        {%- set ns.system = message.content | trim + '\n\n' -%}
    {%- else -%}
        {%- set role = 'model' if message.role == 'assistant' else message.role -%}
        {{- '<start_of_turn>' + role + '\n' + ns.system + message.content | trim + '<end_of_turn>\n' -}}
        {%- set ns.system = '' -%}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<start_of_turn>model\n' -}}
{%- endif -%})";

constexpr std::string_view phi3 = R"({%- for message in messages -%}
{{- '<|' + message.role + '|>\n' + message.content + '<|end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|assistant|>\n' -}}
{%- endif -%})";

// DeepSeek-V2.5 and later: full-width bars and U+2581 in the markers. Of an answer only what follows the reasoning is
// shown again.
constexpr std::string_view deepseek = R"({{- bos_token -}}
{%- for message in messages if message.role == 'system' -%}
{{- message.content + ('\n\n' if not loop.last else '') -}}
{%- endfor -%}
{%- for message in messages -%}
    {%- if message.role == 'user' -%}
        {{- '<｜User｜>' + message.content -}}
    {%- elif message.role == 'assistant' -%}
        {{- '<｜Assistant｜>' + message.content.split('</think>')[-1] + '<｜end▁of▁sentence｜>' -}}
    {%- elif message.role != 'system' -%}
        {{- raise_exception('the deepseek format knows the roles system, user and assistant') -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<｜Assistant｜>' -}}
{%- endif -%})";

constexpr BuiltinTemplate templates[] = {
    {"chatml", chatml}, {"llama2", llama2}, {"llama3", llama3}, {"mistral", mistral},
    {"zephyr", zephyr}, {"gemma", gemma},   {"phi3", phi3},     {"deepseek", deepseek},
};

}  // namespace

std::span<const BuiltinTemplate> builtin_templates() noexcept {
    return templates;
}

}  // namespace vigil
