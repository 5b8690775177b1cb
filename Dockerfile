# One image for every role: `it0 up` by default, `it0 serve`, `it0 worker`, ... as the command.
FROM python:3.11.13-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
RUN python -m venv /app/.venv
# The dependencies first: this layer is rebuilt only when the lock file changes.
COPY requirements.lock ./
RUN /app/.venv/bin/pip install --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md app.py assembly.py assembly_billing.py assembly_fleet.py assembly_page.py audit_cli.py billing_cli.py checks.py cli.py environment.py fleet_cli.py operate.py platforms.py reach.py settings.py settings_parts.py stores.py variables.py ./
COPY core core
COPY billing billing
COPY bots bots
COPY storage storage
RUN /app/.venv/bin/pip install --no-deps --no-build-isolation --editable . \
    && /app/.venv/bin/python -m compileall -q app.py assembly.py assembly_billing.py assembly_fleet.py assembly_page.py audit_cli.py billing_cli.py checks.py cli.py environment.py fleet_cli.py operate.py platforms.py reach.py settings.py settings_parts.py stores.py variables.py core billing bots storage

FROM python:3.11.13-slim-bookworm
RUN groupadd --system --gid 10001 it0 \
    && useradd --system --uid 10001 --gid it0 --home-dir /data --shell /usr/sbin/nologin it0 \
    && install --directory --owner=it0 --group=it0 --mode=0700 /data
COPY --from=build /app /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    IT0_DATA_DIR=/data \
    IT0_HTTP_HOST=0.0.0.0 \
    IT0_LOG_FORMAT=json
WORKDIR /data
VOLUME ["/data"]
USER it0
EXPOSE 8080
# SIGTERM finishes or hands back what runs: give it longer than IT0_SHUTDOWN_GRACE_S.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ.get(\"IT0_HTTP_PORT\") or 8080}/healthz', timeout=4)"]
CMD ["it0", "up"]
