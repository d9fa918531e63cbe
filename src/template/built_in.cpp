#include "lowmem/template/built_in.h"

namespace lowmem::jinja {
namespace {

constexpr std::string_view kLlama2 = R"({#- llama2 -#}
{%- set first = 1 if messages[0].role == 'system' else 0 -%}
{%- for turn in messages[first:] -%}
{%- set expected = 'assistant' if loop.index0 % 2 else 'user' -%}
{%- if turn.role != expected -%}
{{- raise_exception('turn ' ~ (loop.index + first) ~ ' is the ' ~ turn.role ~ "'s, where the template llama2 has the " ~ expected ~ "'s") -}}
{%- endif -%}
{%- set said = turn.content -%}
{%- if loop.first and first -%}
{%- set said = '<<SYS>>\n' ~ messages[0].content ~ '\n<</SYS>>\n\n' ~ said -%}
{%- endif -%}
{%- if expected == 'user' -%}
{{- bos_token ~ '[INST] ' ~ said | trim ~ ' [/INST]' -}}
{%- else -%}
{%- generation -%}{{- ' ' ~ said | trim ~ ' ' ~ eos_token -}}{%- endgeneration -%}
{%- endif -%}
{%- endfor -%})";

constexpr std::string_view kLlama3 = R"({#- llama3 -#}
{{- bos_token -}}
{%- for turn in messages -%}
{%- if turn.role not in ['system', 'user', 'assistant'] -%}
{{- raise_exception('turn ' ~ loop.index ~ ' is of the role ' ~ turn.role ~ ', which the template llama3 does not have') -}}
{%- endif -%}
{{- '<|start_header_id|>' ~ turn.role ~ '<|end_header_id|>\n\n' -}}
{%- if turn.role == 'assistant' -%}
{%- generation -%}{{- turn.content | trim ~ '<|eot_id|>' -}}{%- endgeneration -%}
{%- else -%}
{{- turn.content | trim ~ '<|eot_id|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}
{%- endif -%})";

constexpr std::string_view kTinyLlama = R"({#- tinyllama -#}
{%- for turn in messages -%}
{%- if turn.role not in ['system', 'user', 'assistant'] -%}
{{- raise_exception('turn ' ~ loop.index ~ ' is of the role ' ~ turn.role ~ ', which the template tinyllama does not have') -}}
{%- endif -%}
{{- '<|' ~ turn.role ~ '|>\n' -}}
{%- if turn.role == 'assistant' -%}
{%- generation -%}{{- turn.content ~ eos_token -}}{%- endgeneration -%}
{%- else -%}
{{- turn.content ~ eos_token -}}
{%- endif -%}
{{- '\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|assistant|>\n' -}}
{%- endif -%})";

constexpr std::string_view kChatMl = R"({#- chatml -#}
{%- for turn in messages -%}
{%- if turn.role not in ['system', 'user', 'assistant'] -%}
{{- raise_exception('turn ' ~ loop.index ~ ' is of the role ' ~ turn.role ~ ', which the template chatml does not have') -}}
{%- endif -%}
{{- '<|im_start|>' ~ turn.role ~ '\n' -}}
{%- if turn.role == 'assistant' -%}
{%- generation -%}{{- turn.content ~ '<|im_end|>' -}}{%- endgeneration -%}
{%- else -%}
{{- turn.content ~ '<|im_end|>' -}}
{%- endif -%}
{{- '\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\n' -}}
{%- endif -%})";

constexpr std::string_view kMistral = R"({#- mistral -#}
{{- bos_token -}}
{%- set first = 1 if messages[0].role == 'system' else 0 -%}
{%- for turn in messages[first:] -%}
{%- set expected = 'assistant' if loop.index0 % 2 else 'user' -%}
{%- if turn.role != expected -%}
{{- raise_exception('turn ' ~ (loop.index + first) ~ ' is the ' ~ turn.role ~ "'s, where the template mistral has the " ~ expected ~ "'s") -}}
{%- endif -%}
{%- if expected == 'user' -%}
{{- '[INST] ' -}}
{%- if loop.first and first -%}{{- messages[0].content ~ '\n\n' -}}{%- endif -%}
{{- turn.content ~ '[/INST]' -}}
{%- else -%}
{%- generation -%}{{- ' ' ~ turn.content | trim ~ eos_token -}}{%- endgeneration -%}
{%- endif -%}
{%- endfor -%})";

}  // namespace

std::string_view built_in_template(std::string_view name) {
  if (name == "llama2") return kLlama2;
  if (name == "llama3") return kLlama3;
  if (name == "tinyllama") return kTinyLlama;
  if (name == "chatml") return kChatMl;
  if (name == "mistral") return kMistral;
  return {};
}

}  // namespace lowmem::jinja
