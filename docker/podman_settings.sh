# SPDX-License-Identifier: Apache-2.0
# Sourced: podman with runc, without systemd, everything in folders of its own.
#   podman_settings FOLDER     sets CONTAINERS_CONF and the array `podman`; the folder keeps images for other runs
podman_settings() {
  local folder=$1
  mkdir -p "$folder"
  export CONTAINERS_CONF=$folder/containers.conf
  cat >"$CONTAINERS_CONF" <<END
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "cni"
cni_plugin_dirs = ["/usr/lib/cni"]
network_config_dir = "$folder/networks"
END
  # shellcheck disable=SC2034
  podman=(podman --root "$folder/storage" --runroot "$folder/run" --tmpdir "$folder/tmp")
}

# Makes localhost/debian:bookworm-slim, out of a tar that is kept for the next time. Says why it cannot.
make_base_image() {
  local tar=$1 work root
  if [ ! -s "$tar" ]; then
    work=$(mktemp -d)
    root=$work/root
    if ! debootstrap --variant=minbase bookworm "$root" >"$work/log" 2>&1; then
      echo "debootstrap cannot make a base image: $(tail -n 1 "$work/log")"
      rm -rf "$work"
      return 1
    fi
    # As Debian's own images: a package manager need not survive a power cut inside of one.
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io"
    tar -C "$root" -cf "$tar.part" . && mv "$tar.part" "$tar"
    rm -rf "$work"
  fi
  "${podman[@]}" import "$tar" localhost/debian:bookworm-slim >/dev/null
}
