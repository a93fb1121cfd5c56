"""``python -m examples.code_index`` is ``trouper run examples.code_index``."""

from examples.code_index import main

main()
