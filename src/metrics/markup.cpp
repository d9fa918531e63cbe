#include "lowmem/metrics/markup.h"

#include <string_view>

namespace lowmem::metrics {
namespace {

char shown(char c) {
  const bool control = static_cast<unsigned char>(c) < ' ' || c == 127;
  return control ? '?' : c;
}

}  // namespace

std::string html_escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += shown(c);
    }
  }
  return escaped;
}

std::string markdown_escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (std::string_view("|<\\*[]`&").find(c) != std::string_view::npos) escaped += '\\';
    escaped += shown(c);
  }
  return escaped;
}

}  // namespace lowmem::metrics
