// The form of conversation of the Qwen families, for models that come without a chat template:
// turns between <|im_start|> and <|im_end|>. It offers no tools; how to call them is the template's
// own.
#pragma once

namespace flashmoe::text {

constexpr const char* kChatml =
    R"({%- if tools %}{{ raise_exception('tools need the model\'s own chat template') }}{% endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %})";

}  // namespace flashmoe::text
