"""``python -m examples.chat`` says how it is run: a node has a name, and others to join."""

import sys

import examples.chat

sys.exit(examples.chat.__doc__)
