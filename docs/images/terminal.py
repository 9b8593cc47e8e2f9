#!/usr/bin/env python3
"""A terminal's bytes, colours and all, as a picture: standard input to output.

How docs/images/demo.svg is made (Debian: python3-rich), from a run of the demo:

    CLICOLOR_FORCE=1 tests/demo > run
    docs/images/terminal.py < run > docs/images/demo.svg

What comes before the first example, the listing of the empty directories and the wide
table were taken out of `run` by hand.
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
