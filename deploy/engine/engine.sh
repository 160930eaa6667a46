# shellcheck shell=bash
# Functions of test-on-engine: the container engine and its images. Uses $repository, $work, $programs, $services.

engine_pid='' network=()
export DOCKER_HOST=''

install_packages() {
    local missing=() program
    local -A package=([dockerd]=docker.io [docker-compose]=docker-compose [debootstrap]=debootstrap [iptables]=iptables
                      [ip]=iproute2 [nsenter]=util-linux [python3]=python3 [openssl]=openssl [curl]=curl)
    for program in "${!package[@]}"; do
        PATH=$PATH:/usr/sbin type -P "$program" >/dev/null || missing+=("${package[$program]}")
    done
    if ((${#missing[@]})); then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" ca-certificates
    fi
}

# start_engine --network=host: for builds; without bridge and firewall rules, containers use the machine's network.
# start_engine --network=own: for deployments; bridges, rules and published ports are in a separate network namespace.
start_engine() {
    local before=() options=()
    case $1 in
        --network=host) options=(--bridge=none --iptables=false) network=() ;;
        --network=own) before=(unshare --net) ;;
    esac
    export DOCKER_HOST=unix://$work/docker.sock
    rm -f "$work/dockerd.pid"
    # shellcheck disable=SC2016  # expanded by the inner shell
    setsid "${before[@]}" sh -c 'ip link set lo up; exec dockerd "$@"' dockerd --data-root="$work/data" \
        --exec-root="$work/exec" --pidfile="$work/dockerd.pid" --host="$DOCKER_HOST" "${options[@]}" >>"$work/dockerd.log" 2>&1 &
    eventually 60 docker version || { tail -5 "$work/dockerd.log"; return 1; }
    engine_pid=$(<"$work/dockerd.pid")
    if [[ $1 == --network=own ]]; then
        network=(nsenter --target "$engine_pid" --net)
    fi
}

stop_engine() {
    if [[ -n $engine_pid ]]; then
        kill "$engine_pid" 2>/dev/null || true
        eventually 60 has_exited "$engine_pid"
        engine_pid=''
    fi
    # The engine leaves its network namespace mounted; after a crash, further mounts.
    awk -v at="$work/" 'index($2, at) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount
}
has_exited() { ! kill -0 "$1"; }

restart_engine_apart() {
    stop_engine && start_engine --network=own
}

make_base_images() {
    local folder=$repository/deploy/engine sysroot ca
    debootstrap --variant=minbase --include=ca-certificates bookworm "$work/root" http://deb.debian.org/debian
    rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
    tar -C "$work/root" --exclude=./dev --exclude='./proc/*' --exclude='./sys/*' -c . | docker import - debian:bookworm-slim
    rm -rf --one-file-system "$work/root"
    for image in postgres:15-bookworm redis:7-bookworm; do
        docker build --network=host -f "$folder/${image%%:*}.Dockerfile" -t "$image" "$folder"
    done
    if [[ -z $programs ]]; then
        sysroot=$(rustc --print sysroot)
        # The certificates that this machine trusts, needed to reach the registry.
        ca=$(readlink -f /etc/ssl/certs/ca-certificates.crt)
        tar -c -C "$folder" rust.Dockerfile -C "$(dirname "$ca")" "$(basename "$ca")" -C "$sysroot" bin lib |
            docker build --network=host -f rust.Dockerfile -t rust:1-bookworm -
    fi
}

# Builds the images from deploy/Dockerfile on a copy of the tree. With --programs, a stage that copies the programs
# replaces those that compile.
build_images() {
    local target image
    mkdir "$work/stele"
    git -C "$repository" ls-files -z --cached --others --exclude-standard |
        (cd "$repository" && xargs -0 sh -c 'for file; do [ ! -e "$file" ] || printf "%s\0" "$file"; done' sh) |
        tar -C "$repository" --null -T - -c | tar -C "$work/stele" -x
    cd "$work/stele"
    if [[ -n $programs ]]; then
        mkdir programs
        for target in gateway stele "${services[@]/#/svc-}"; do
            cp "$programs/$target" programs/ && strip --strip-debug "programs/$target"
        done
        echo '!programs' >> .dockerignore
        awk -v build='FROM debian:bookworm-slim AS build\nCOPY programs /src/target/dist/\nRUN install -d -m 0700 /out/stele /out/stele-keys\n' '
            /^FROM/ { skip = 0 }
            /^FROM .* AS manifests/ { skip = 1 }
            /^FROM .* AS build/ { print build; skip = 1 }
            !skip' deploy/Dockerfile > Dockerfile.copied
        mv Dockerfile.copied deploy/Dockerfile
    fi
    for target in gateway stele "${services[@]}"; do
        image=stele/$target
        [[ $target == gateway || $target == stele ]] || image=stele/svc-$target
        DOCKER_BUILDKIT=0 docker build --network=host -f deploy/Dockerfile --target "$target" -t "$image" .
    done
    docker images --format '{{.Repository}} {{.Size}}' | grep -E '^(stele/|debian)' | sort | note
}

take_down() {
    local status=$?
    trap - EXIT
    report_failure
    if [[ -n ${load:-} ]]; then
        kill "$load" 2>/dev/null || true
    fi
    if $keep && [[ -n $engine_pid ]]; then
        echo "still running: DOCKER_HOST=$DOCKER_HOST; requests: ${network[*]} curl http://127.0.0.1:8080/readyz; tree: $work/stele"
        exit "$status"
    fi
    if [[ -n $engine_pid && -e $work/stele/docker-compose.yml ]]; then
        (cd "$work/stele" && compose down --volumes --timeout 5) >/dev/null 2>&1 || true
    fi
    stop_engine || true
    rm -rf --one-file-system "$work"
    exit "$status"
}
