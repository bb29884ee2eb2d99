#!/bin/sh
# Lays out in the folder $1 the image that gitlab-ci-local copies files with (bash, rsync and the usual programs), which
# cannot be pulled: Debian's own programs, and the libraries that rsync wants.
set -eu
root=$1
busybox=$(command -v busybox)
rsync=$(command -v rsync)
mkdir -p "$root/bin" "$root/etc" "$root/root" "$root/tmp"
for applet in $("$busybox" --list); do
	ln -sf busybox "$root/bin/$applet"
done
cp --remove-destination "$busybox" "$root/bin/busybox"
cp --remove-destination "$(command -v bash-static)" "$root/bin/bash"
cp --remove-destination "$rsync" "$root/bin/rsync"
ldd "$rsync" | grep -o '/[^ ]*' | while read -r library; do
	mkdir -p "$root$(dirname "$library")"
	cp -L "$library" "$root$library"
done
printf 'FROM scratch\nCOPY . /\n' >"$root/Dockerfile"
