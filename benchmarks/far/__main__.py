"""See the package."""

import sys

import trio

from benchmarks.far import serve_frames, serve_node

if __name__ == "__main__":
    *options, place = sys.argv[1:]
    trio.run(serve_frames if options == ["--bare"] else serve_node, place)
