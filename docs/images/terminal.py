#!/usr/bin/env python3
"""A terminal's bytes, colours and all, as a picture: standard input to output.

How docs/images/demo.svg is made (Debian: python3-rich), in a host with the
examples in place, as `make demo` leaves them to a person who stops it there:

    make host-shell                       # export CLICOLOR_FORCE=1 PS1='$ '
    script -q -c bash /tmp/typed          # type what is to be shown, then exit
    tests/e2e/host pull /tmp/typed typed
    docs/images/terminal.py < typed > docs/images/demo.svg

The lines that script(1) adds, and what was mistyped, are taken out by hand.
"""

import io
import re
import sys

from rich.console import Console
from rich.text import Text

COLUMNS = 100

console = Console(
    record=True, width=COLUMNS, force_terminal=True, color_system="truecolor", file=io.StringIO()
)
for line in sys.stdin.read().replace("\r\n", "\n").splitlines():
    console.print(Text.from_ansi(line), overflow="crop", no_wrap=True)
picture = console.export_svg(title="banger on the disposable host")
# No font from somebody's server, and no word of what made it.
sys.stdout.write(re.sub(r"<!--.*?-->|@font-face \{.*?\}\s*", "", picture, flags=re.S))
