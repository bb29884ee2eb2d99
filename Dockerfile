# Dockline's image. Where base images can be had it builds by itself:
#
#	docker build -t dockline:dev --build-arg VERSION=1.2.3 .
#
# `make image` makes it without any: it lays out the root file system on the host, by the same `make rootfs`, and reads
# the last stage below for the rest (tools/image), so that the two cannot differ.
ARG GO_IMAGE=golang:1.26-bookworm
ARG BUSYBOX_IMAGE=busybox:1.37-musl

FROM ${BUSYBOX_IMAGE} AS busybox

FROM ${GO_IMAGE} AS build
ARG GOPROXY
WORKDIR /src
COPY --from=busybox /bin/busybox /usr/local/bin/busybox
COPY . .
ARG VERSION=devel
ARG SOURCE_DATE_EPOCH=0
RUN make rootfs ROOTFS=/rootfs VERSION="$VERSION" BUSYBOX=/usr/local/bin/busybox

FROM scratch
COPY --from=build /rootfs /

# A build with Kaniko replaces the root file system, and leaves /kaniko alone: whatever is needed afterwards is there.
# No VOLUME keeps anything else, because not every engine honours it.
ENV PATH=/kaniko/bin:/kaniko/busybox:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/kaniko \
    USER=root \
    SSL_CERT_DIR=/kaniko/ssl/certs \
    KANIKO_DIR=/kaniko

# The build needs it. promote, retag and verify run as any user, on a read-only root, without a capability.
USER 0
WORKDIR /

# There is no default step, and no ENTRYPOINT, which GitLab's runner would run its shell with.
CMD ["sh", "-c", "echo 'dockline: name a step: clone-build-push, promote, retag or verify, each with --help' >&2; exit 2"]

ARG VERSION=devel
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Dockline" \
      org.opencontainers.image.description="Takes container images from Git to production: clone-build-push, promote, retag, verify" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-only" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
