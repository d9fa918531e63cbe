#pragma once

namespace lowmem::metrics {

// The report's style sheet. Holds no `<` and no `&`, so that the page is XML too.
extern const char* const kReportStyle;

}  // namespace lowmem::metrics
