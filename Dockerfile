# syntax=docker/dockerfile:1
FROM node:22-bookworm-slim AS web
WORKDIR /src/web
COPY web .
RUN --mount=type=cache,target=/root/.npm npm ci && npm run build --workspace app

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
COPY --from=web /src/web/app/dist web/app/dist
# The caches outlive the layer, so that a change of our code does not build every dependency again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/living-map /living-map

FROM debian:bookworm-slim
RUN useradd --system --uid 7017 --create-home --home-dir /data living-map
# The roots that upstreams' certificates are checked against.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /living-map /usr/local/bin/living-map
USER 7017
WORKDIR /data
VOLUME /data
# Reachable from outside the container, so AUTH is required: the server does not start without it.
ENV BIND=0.0.0.0 PORT=7017 DATABASE_URL=sqlite:///data/living-map.db
EXPOSE 7017
# bash speaks enough HTTP to ask for one status line, so the image needs no curl.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
  CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/$PORT && printf 'GET /living-map/health HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["living-map"]
CMD ["serve"]
