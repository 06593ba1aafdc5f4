# What `cli/dist` and `cli/lifecycle/dist` share: times, archives, OCI layouts. Sourced by bash, at the
# root of the repository, with `work`, an empty folder for what comes between.

case $(uname -m) in
  x86_64) architecture=x86-64 goarch=amd64 ;;
  aarch64) architecture=arm64 goarch=arm64 ;;
  *) echo "no name is known for this machine type: $(uname -m)" >&2; exit 2 ;;
esac
# The time of all files.
time=${SOURCE_DATE_EPOCH:-315532801}
created=$(date -u -d "@$time" +%Y-%m-%dT%H:%M:%SZ)
commit=$(git rev-parse HEAD 2>/dev/null || true)

# Whether the linker makes one function of those that are equal: lld does, which rustc has along on some
# machines, and GNU's does not know the word.
folds() { rustc --crate-name probe -o "$work/probe" -Clink-arg=-Wl,--icf=all - <<< 'fn main() {}' 2> /dev/null; }

# The crates that a package is made of, one a line: name, version, licence.
crates() {
  cargo tree --locked --offline -p "$1" -e normal,no-proc-macro --prefix none --format '{p} {l}' |
    sed 's/ (\*)$//; s/ (\/[^)]*)//' | sort -u
}

# A tar archive, all of whose entries are root's, and as old as each other.
pack() { tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$time" --format=gnu -cf - "$@"; }

# Text as a JSON string has it.
quoted() { sed 's/\\/\\\\/g; s/"/\\"/g'; }

# What a program needs that is alone in a root file system, in the folder `$1`, with these folders.
bare_root() {
  mkdir -p "$1/etc" "$1/tmp" "${@:2}"
  printf 'root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n' > "$1/etc/passwd"
  printf 'root:x:0:\nnobody:x:65534:\n' > "$1/etc/group"
  chmod 1777 "$1/tmp"
}

# Begins the OCI layout in the folder `$1`, in place of what was there.
begin_layout() {
  layout=$1 entries= layers= ids=
  rm -rf "$layout"
  mkdir -p "$layout/blobs/sha256"
}

# Keeps what comes, and says its digest and size.
blob() {
  local file=$work/blob digest
  cat > "$file"
  digest=$(sha256sum "$file" | cut -d' ' -f1)
  mv "$file" "$layout/blobs/sha256/$digest"
  echo "sha256:$digest $(stat -c %s "$layout/blobs/sha256/$digest")"
}

# A layer of the next image: what `pack` makes of these arguments.
layer() {
  local digest size
  pack "$@" > "$work/layer"
  ids+="${ids:+,}\"sha256:$(sha256sum "$work/layer" | cut -d' ' -f1)\""
  gzip -n < "$work/layer" > "$work/layer.gz"
  read -r digest size < <(blob < "$work/layer.gz")
  layers+="${layers:+,}{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"$digest\",\"size\":$size}"
}

# The image of these layers, tagged `$1`, whose config says `$2`; its digest is `$manifest` then.
image() {
  local config size
  read -r config size < <(printf '%s' "{\"architecture\":\"$goarch\",\"created\":\"$created\",\"os\":\"linux\",\"config\":$2,\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[$ids]}}" | blob)
  read -r manifest size < <(printf '%s' "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"$config\",\"size\":$size},\"layers\":[$layers]}" | blob)
  entry "$1" "$size" ",\"platform\":{\"architecture\":\"$goarch\",\"os\":\"linux\"}"
  layers= ids=
}

# The manifest `$manifest`, of `$2` bytes, under the tag `$1`.
entry() {
  entries+="${entries:+,}{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"$manifest\",\"size\":$2,\"annotations\":{\"org.opencontainers.image.ref.name\":\"$1\"}${3-}}"
}

end_layout() {
  printf '%s' "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[$entries]}" > "$layout/index.json"
  printf '{"imageLayoutVersion":"1.0.0"}' > "$layout/oci-layout"
}
