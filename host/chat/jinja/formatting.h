// Python's two ways of formatting strings: "%s" % value and "{}".format(value), as far as templates use them.
#pragma once

#include "host/chat/jinja/budget.h"
#include "host/chat/jinja/text.h"
#include "host/chat/jinja/value.h"

namespace vigil::jinja {

// "format" % values: %s %r %d %i %x %X %o %f %F %e %E %g %G %% with flags, width and precision; a tuple holds several
// values.
Value percent_format(Budget& budget, const Text& format, const Value& values);

// format.format(…): {} {0} {name} with !s or !r and [[fill]align][sign][0][width][,][.precision][type]. No access to
// attributes or items within the braces.
Value brace_format(Budget& budget, const Text& format, const Arguments& arguments);

}  // namespace vigil::jinja
