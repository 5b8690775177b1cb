"""``it0 up`` under cProfile: where the CPU goes; for ``chat_load --profile`` alone."""

from __future__ import annotations

import cProfile
import sys

import cli

if __name__ == "__main__":
    profile = cProfile.Profile()
    try:
        profile.runcall(cli.main, ["up"])
    finally:
        profile.dump_stats(sys.argv[1])
