# One image for the server and the worker, which differ in the command. See docs/install.md.
FROM python:3.11.14-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements/run.txt requirements/
RUN python -m venv /opt/everafter \
    && /opt/everafter/bin/pip install --require-hashes -r requirements/run.txt
COPY LICENSE README.md pyproject.toml ./
COPY src src
RUN /opt/everafter/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11.14-slim-bookworm
RUN groupadd --gid 10001 everafter \
    && useradd --uid 10001 --gid everafter --no-create-home --home-dir /var/lib/everafter \
        --shell /usr/sbin/nologin everafter \
    && install --directory --owner=everafter --group=everafter --mode=0700 /var/lib/everafter
COPY --from=build /opt/everafter /opt/everafter
ENV EVERAFTER_DATA=/var/lib/everafter \
    PATH=/opt/everafter/bin:$PATH \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/everafter
VOLUME /var/lib/everafter
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["everafter"]
CMD ["serve", "--host", "0.0.0.0"]
