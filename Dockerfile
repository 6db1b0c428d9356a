# The one binary in an image with nothing else in it: no shell, no package, no certificate of anybody.
#
#   docker build -t entente .
#   docker run --read-only -v /srv/entente:/etc/entente:ro -v entente-data:/data entente node run
#
# /etc/entente holds node.yaml, the certificates, keys and papers that it names, and operator.yaml for the health check;
# node.yaml puts data file, marker and backups into /data, the only place that is written to. docs/operations.md says more.
# `make image` builds it and tries it out.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src

# The modules first: their layer stays valid while only our own sources change.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download

COPY . .
ARG TARGETOS
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH tools/build.sh /out/entente \
    && mkdir /out/data

FROM scratch
COPY --from=build /out/entente /entente
# A new volume takes its owner from here.
COPY --from=build --chown=65532:65532 /out/data /data
ENV ENTENTE_NODE_CONFIG=/etc/entente/node.yaml ENTENTE_CONFIG=/etc/entente/operator.yaml
USER 65532:65532
WORKDIR /data
# Asks the node over its own port, as an operator of the member; says unhealthy while the node drains.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["/entente", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/entente"]
