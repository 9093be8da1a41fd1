# One image, three programs: cura-server (default), cura-worker, cura-admin.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# What --version and /health tell: docker build --build-arg CURA_COMMIT=$(git rev-parse --short=12 HEAD)
ARG CURA_COMMIT=
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked -p cura-bin --features board --bins \
    && mkdir /out && cp target/release/cura-server target/release/cura-worker target/release/cura-admin /out/

FROM debian:bookworm-slim
# For backups: pg_dump and pg_restore of the newest server that is to be backed up, from the archive of PostgreSQL's own packagers.
ARG POSTGRES_MAJOR=16
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl postgresql-common \
    && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
    && apt-get install -y --no-install-recommends postgresql-client-${POSTGRES_MAJOR} \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/cura --create-home cura
COPY --from=build /out/ /usr/local/bin/
USER cura
# Files of users are in DATA_DIR unless STORAGE_PROVIDER says otherwise: mount a volume there that servers and workers share.
ENV ENVIRONMENT=production HOST=0.0.0.0 PORT=8000 DATA_DIR=/var/lib/cura
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["cura-server", "--check-health"]
CMD ["cura-server", "--wait", "60"]
