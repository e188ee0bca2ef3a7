# One build for all our programs, one small image for each:  docker build --target order-service .
FROM rust:1.95.0-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends cmake g++ make perl pkg-config \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p order-service -p inventory-service -p payment-service -p api-gateway -p edge \
 && mkdir /out \
 && for program in order-service inventory-service payment-service api-gateway edge-purge; do strip -o "/out/$program" "target/release/$program"; done

FROM node:22-bookworm-slim AS web
WORKDIR /src
COPY web .
RUN npm ci && npm run build

FROM debian:bookworm-slim AS runtime
# bash opens the connection itself: the image needs no HTTP client for its health check
COPY stack/compose/ready.sh /usr/local/bin/ready
USER 10001:10001
ENV LOG_FORMAT=json HTTP_ADDR=0.0.0.0:8080 OPS_ADDR=0.0.0.0:9080
EXPOSE 8080 9080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 CMD ["ready"]

FROM runtime AS order-service
COPY --from=build /out/order-service /usr/local/bin/order-service
ENTRYPOINT ["order-service"]

FROM runtime AS inventory-service
COPY --from=build /out/inventory-service /usr/local/bin/inventory-service
ENTRYPOINT ["inventory-service"]

FROM runtime AS payment-service
COPY --from=build /out/payment-service /usr/local/bin/payment-service
ENTRYPOINT ["payment-service"]

FROM runtime AS api-gateway
COPY --from=build /out/api-gateway /usr/local/bin/api-gateway
COPY --from=web /src/dist /srv/web
ENV WEB_FOLDER=/srv/web
ENTRYPOINT ["api-gateway"]

FROM runtime AS edge-purge
COPY --from=build /out/edge-purge /usr/local/bin/edge-purge
HEALTHCHECK NONE
ENTRYPOINT ["edge-purge"]
