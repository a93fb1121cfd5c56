"""``python -m examples.dining_philosophers`` is ``trouper run examples.dining_philosophers``."""

from examples.dining_philosophers import main

main()
