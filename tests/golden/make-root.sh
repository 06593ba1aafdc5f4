#!/bin/sh
# make-root.sh DIR: build the root file system that every case runs in.
# Needs root, busybox-static and bash-static. Same bytes, modes and owners each time
# (but for busybox and bash themselves, which never enter an image).
# /proc has to be mounted by the caller: busybox and upstream read /proc/self/exe.
set -eu
R=$1
umask 022
[ "$(id -u)" = 0 ] || { echo "make-root.sh: must be root" >&2; exit 1; }
BUSYBOX=$(command -v busybox) || { echo "make-root.sh: busybox-static is missing" >&2; exit 1; }
BASH_STATIC=$(command -v bash-static) || { echo "make-root.sh: bash-static is missing" >&2; exit 1; }

mkdir -p "$R"
cd "$R"
mkdir -p bin etc dev tmp root home/cnb usr/bin var/run proc \
  cnb/lifecycle cnb/buildpacks cnb/extensions cnb/build-config/env \
  workspace layers platform/env cache launch-cache layout-repo kaniko
chmod 1777 tmp
cp "$BUSYBOX" bin/busybox
cp "$BASH_STATIC" bin/bash
chmod 0755 bin/busybox bin/bash
for a in sh ash awk basename cat chmod chown cmp cp cut date dirname du echo env expr false find grep head id ln ls \
  md5sum mkdir mkfifo mknod mktemp mv od printf pwd readlink rm rmdir sed seq sha256sum sleep sort stat tail tee test \
  touch tr true uniq wc xargs xxd yes gzip gunzip tar; do
  ln -s busybox "bin/$a"
done
mknod dev/null c 1 3; chmod 0666 dev/null
mknod dev/zero c 1 5; chmod 0666 dev/zero
mknod dev/random c 1 8; chmod 0666 dev/random
mknod dev/urandom c 1 9; chmod 0666 dev/urandom

cat > etc/passwd <<'X'
root:x:0:0:root:/root:/bin/sh
cnb:x:1000:1000:cnb:/home/cnb:/bin/sh
X
cat > etc/group <<'X'
root:x:0:
cnb:x:1000:
X
cat > etc/hosts <<'X'
127.0.0.1 localhost
X
cat > etc/os-release <<'X'
ID=goldenos
VERSION_ID="7.5"
PRETTY_NAME="Golden OS 7.5 (build)"
X

# A stand-in for the launcher, so that the launcher layer is the same for every implementation.
printf '#!/bin/sh\n# stand-in launcher: a fixed text, 64 bytes or so\nexit 0\n' > cnb/lifecycle/launcher
chmod 0755 cnb/lifecycle/launcher
for c in launcher lifecycle; do
  printf '{"bomFormat":"CycloneDX","specVersion":"1.4","metadata":{"component":{"name":"%s"}}}\n' $c > cnb/lifecycle/$c.sbom.cdx.json
  printf '{"spdxVersion":"SPDX-2.3","name":"%s"}\n' $c > cnb/lifecycle/$c.sbom.spdx.json
  printf '{"artifacts":[],"source":{"target":"%s"}}\n' $c > cnb/lifecycle/$c.sbom.syft.json
done
for p in analyzer detector restorer builder exporter creator rebaser extender; do
  ln -s lifecycle cnb/lifecycle/$p
done

chown -R 0:0 .
chown 1000:1000 workspace layers cache launch-cache layout-repo home/cnb
