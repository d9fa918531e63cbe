#pragma once

#include <string>
#include <string_view>

// Texts of the user's inside documents. Control characters become `?` in both.
namespace lowmem::metrics {

// For HTML and SVG, as text or inside quotes: & < > " ' are written as entities.
std::string html_escaped(std::string_view text);

// For a cell of a Markdown table: `|` would end it, `<` begin a tag.
std::string markdown_escaped(std::string_view text);

}  // namespace lowmem::metrics
