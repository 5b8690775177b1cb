"""What ``it0 up`` runs, without the command line around it."""

from __future__ import annotations

import asyncio
import os

import app
from core.logs import configure_logs
from settings import Settings

if __name__ == "__main__":
    configure_logs(json=True)
    asyncio.run(
        app.serve(Settings.from_environment(os.environ), app.Role.UP, lambda _process: None)
    )
