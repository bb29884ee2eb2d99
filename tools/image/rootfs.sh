#!/bin/sh
# Completes the image's root file system, in which the programs are already: the shell, the CA certificates, and the
# links and marks by which others find them. Called by `make rootfs`, on the host and in the Dockerfile alike. What the
# host lacks is installed, where it is Debian and we are root.
#
# usage: rootfs.sh DIR
# environment: BUSYBOX            a static busybox (default: the host's)
#              CA_CERTIFICATES    a PEM bundle (default: the host's, where Debian keeps it)
#              SOURCE_DATE_EPOCH  the time of every file, in seconds since 1970 (default: 0)
set -eu
umask 022
root=$1

# install PACKAGE... has Debian's packages installed, where that is possible without asking anybody.
install() {
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		return 1
	fi
	echo "installing $*" >&2
	export DEBIAN_FRONTEND=noninteractive
	{ apt-get -o DPkg::Lock::Timeout=300 update && apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"; } >&2
}

# static FILE says whether a program needs no library: the image has none.
static() { [ -x "$1" ] && ! ldd "$1" >/dev/null 2>&1; }

missing() {
	echo "rootfs: $1 is missing: install Debian's package $2, or set $3" >&2
	exit 1
}

if [ -z "${BUSYBOX:-}" ]; then
	BUSYBOX=$(command -v busybox || true)
	if ! static "$BUSYBOX"; then
		install busybox-static || true
		BUSYBOX=$(command -v busybox || true)
	fi
fi
static "$BUSYBOX" || missing "a static busybox" busybox-static BUSYBOX

if [ -z "${CA_CERTIFICATES:-}" ]; then
	CA_CERTIFICATES=/etc/ssl/certs/ca-certificates.crt
	[ -s "$CA_CERTIFICATES" ] || install ca-certificates || true
fi
[ -s "$CA_CERTIFICATES" ] || missing "a bundle of CA certificates" ca-certificates CA_CERTIFICATES

for step in promote retag verify; do
	ln -s dockline "$root/kaniko/bin/$step"
done

mkdir -p "$root/kaniko/busybox" "$root/kaniko/ssl/certs" "$root/bin" "$root/tmp"
cp "$BUSYBOX" "$root/kaniko/busybox/busybox"
for applet in $("$BUSYBOX" --list); do
	[ "$applet" = busybox ] || ln -s busybox "$root/kaniko/busybox/$applet"
done
cp "$CA_CERTIFICATES" "$root/kaniko/ssl/certs/ca-certificates.crt"
echo "A build may replace the file system around this file (pkg/kaniko)." >"$root/kaniko/dockline-owns-this-root"

# GitLab's runner looks for a shell at these two places; pkg/kaniko puts them back after a build.
ln -s /kaniko/busybox "$root/busybox"
ln -s /kaniko/busybox/sh "$root/bin/sh"

find "$root" -type d -exec chmod 755 {} +
find "$root" -type f -exec chmod 644 {} +
chmod 755 "$root"/kaniko/bin/clone-build-push "$root"/kaniko/bin/dockline "$root"/kaniko/busybox/busybox
chmod 1777 "$root/tmp"
find "$root" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
