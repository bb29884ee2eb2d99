#!/bin/sh
# Lays out in the folder $1 the image that gitlab-ci-local copies files with (bash, rsync and the usual programs), which
# cannot be pulled: Debian's own programs, and the libraries that rsync wants. As root it installs what is missing.
set -eu
root=$1
if [ ! -e /bin/bash-static ] || [ ! -e /bin/busybox ] || ! command -v rsync >/dev/null; then
	apt-get update -qq
	apt-get install -qq -y --no-install-recommends bash-static busybox-static rsync >/dev/null
fi
mkdir -p "$root/bin" "$root/etc" "$root/root" "$root/tmp"
cp /bin/busybox "$root/bin/busybox"
for applet in $(/bin/busybox --list); do
	ln -sf busybox "$root/bin/$applet"
done
cp --remove-destination /bin/busybox "$root/bin/busybox"
cp --remove-destination /bin/bash-static "$root/bin/bash"
ldd "$(command -v rsync)" | grep -o '/[^ ]*' | while read -r library; do
	mkdir -p "$root$(dirname "$library")"
	cp -L "$library" "$root$library"
done
cp -L --remove-destination "$(command -v rsync)" "$root/bin/rsync"
printf 'FROM scratch\nCOPY . /\n' >"$root/Dockerfile"
