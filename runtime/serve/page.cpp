#include "runtime/serve/page.h"

#include <fmt/format.h>
#include <random>
#include <string_view>

namespace vigil::serve {

// page.html as the build found it (page_html.cpp.in).
extern const char* const kPageHtml;

namespace {

constexpr std::string_view kPlaceholder = "NONCE";

}  // namespace

Page make_page() {
    std::random_device random;
    const std::string nonce = fmt::format("{:08x}{:08x}{:08x}{:08x}", random(), random(), random(), random());
    Page page{.html = kPageHtml,
              .policy = fmt::format("default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; img-src data:; "
                                    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                                    nonce)};
    const std::string attribute = fmt::format("nonce=\"{}\"", kPlaceholder);
    for (std::size_t at = page.html.find(attribute); at != std::string::npos; at = page.html.find(attribute, at + 1))
        page.html.replace(at, attribute.size(), fmt::format("nonce=\"{}\"", nonce));
    return page;
}

}  // namespace vigil::serve
