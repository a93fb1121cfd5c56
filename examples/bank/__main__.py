"""``python -m examples.bank`` is ``trouper run examples.bank``."""

from examples.bank import main

main()
