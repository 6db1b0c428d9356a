# The one binary in an image with nothing else in it: no shell, no package, no certificate of anybody.
# Build:  docker build -t entente .
# Run:    docker run -v entente-data:/data entente node run --help
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src

# The modules first: their layer stays valid while only our own sources change.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download

COPY . .
ARG TARGETOS
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -tags grpcnotrace,retrynotrace -ldflags='-s -w' -o /out/entente ./nodes/entente \
    && mkdir /out/data

FROM scratch
COPY --from=build /out/entente /entente
# The only place that the program may write to. A new volume takes its owner from here.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
WORKDIR /data
ENTRYPOINT ["/entente"]
