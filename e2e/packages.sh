#!/bin/sh
# Installs, as root on Debian, the packages that `make e2e` needs and the machine lacks; elsewhere it names them. (The
# container engine and the registries see to their own: e2e/engine, e2e/debian.)
set -eu
missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need node nodejs
need npm npm
need rsync rsync
need bash-static bash-static
need busybox busybox-static
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "make e2e needs these packages (named as in Debian):$missing" >&2
	exit 1
fi
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -qq -y --no-install-recommends $missing >/dev/null
