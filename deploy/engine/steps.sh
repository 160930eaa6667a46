# shellcheck shell=bash
# The steps of test-on-engine once the engine runs. A failing command in a step stops the test.

current='' began=0 passed=0

step() { # step NAME COMMAND…: prints PASS or FAIL; the command's output is shown only if it fails
    current=$1 began=$SECONDS
    shift
    exec 3>&1
    "$@" >"$work/output" 2>&1
    printf 'PASS  %-58s %4d s\n' "$current" $((SECONDS - began))
    current='' passed=$((passed + 1))
}
note() { sed 's/^/          /' >&3; }
report_failure() { # for the EXIT trap: reports the step that did not finish
    if [[ -n $current ]]; then
        printf 'FAIL  %-58s %4d s\n' "$current" $((SECONDS - began)) >&3
        tail -n 40 "$work/output" | note
    fi
}
fail() { echo "$*"; return 1; }
summary() { echo "$passed passed, 0 failed"; }

eventually() { # eventually SECONDS COMMAND…: retries until the command succeeds
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || { echo "did not succeed in time: $*"; return 1; }
        sleep 0.25
    done
}

compose() {
    docker-compose -f docker-compose.yml -f deploy/engine/compose.yml "$@"
}
containers() { docker ps --quiet --no-trunc --filter "label=com.docker.compose.service=$1"; }
healthy() { # healthy SERVICE COUNT: whether exactly COUNT containers of the service are healthy
    [[ $(docker ps --quiet --filter "label=com.docker.compose.service=$1" --filter health=healthy | wc -l) == "$2" ]]
}
curl_gateway() { "${network[@]}" curl --silent --show-error --fail "$@"; }

start_deployment() {
    cd "$work/stele"
    deploy/make-secrets
    # The command from the file's head on an unchanged tree, with one override for rate limits and logs.
    compose up --detach
    local service
    for service in gateway postgres redis "${services[@]}"; do
        eventually 120 healthy "$service" 1
    done
    echo "all healthy $((SECONDS - began)) s after the command" | note
    curl_gateway http://127.0.0.1:8080/readyz
    add_users
}

add_users() { # writes the clients' environment to $work/environment.json
    compose run --rm -T --volume "$work/stele/deploy/engine/users.sh:/users.sh:ro" --entrypoint sh migrate \
        /users.sh 45 >"$work/users.json"
    local outbox
    outbox=$(docker volume inspect --format '{{.Mountpoint}}' stele_outbox)/outbox.jsonl
    python3 - "$work" "$outbox" <<'PYTHON'
import json, pathlib, sys
work = pathlib.Path(sys.argv[1])
environment = json.loads((work / "users.json").read_text())
environment |= {"url": "http://127.0.0.1:8080", "outbox": sys.argv[2],
           "mefp_secret": (work / "stele/deploy/secrets/mefp_secret").read_text()}
(work / "environment.json").write_text(json.dumps(environment))
PYTHON
}

check_privileges() {
    local id published
    for id in $(docker ps --quiet); do
        docker inspect "$id" >"$work/container.json"
        python3 - "$work" <<'PYTHON'
import json, pathlib, sys
work = pathlib.Path(sys.argv[1])
(container,) = json.loads((work / "container.json").read_text())
name, host = container["Name"], container["HostConfig"]
assert container["Config"]["User"] not in ("", "0", "root"), name
assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and not host["Privileged"], name
assert "no-new-privileges:true" in host["SecurityOpt"] and host["Memory"] > 0 and host["PidsLimit"] > 0, name
text_of_container = json.dumps(container)
for secret in (work / "stele/deploy/secrets").iterdir():
    text = secret.read_text().strip()
    assert len(text) < 16 or text not in text_of_container, f"{name} contains {secret.name}"
keys = [mount for mount in container["Mounts"] if mount["Destination"] == "/var/lib/stele-keys"]
assert all(not mount["RW"] for mount in keys), name
PYTHON
    done
    published=$(docker ps --format '{{.Ports}}' | grep -o '[^ ]*->[^ ,]*' | sort -u)
    [[ $published == "127.0.0.1:8080->8080/tcp" ]] || fail "published: $published"
    # The gateway cannot resolve the stores' names.
    local gateway
    gateway=$(containers gateway)
    docker exec "$gateway" getent hosts jwt
    ! docker exec "$gateway" getent hosts postgres || fail "the gateway reaches the stores"
    ! docker exec "$(containers cloudbox)" touch /var/lib/stele-keys/x || fail "a service can write the keys"
}

check_every_dialect() {
    "${network[@]}" python3 -B crates/stele/tests/e2e/independent/client.py "$work/environment.json" | tee "$work/client-output"
    [[ $(grep -c 'as documented' "$work/client-output") == "${#dialects[@]}" ]]
    note <"$work/client-output"
    curl_gateway http://127.0.0.1:8080/.well-known/openid-configuration
}

load='' since=''
start_load() { # start_load FIRST: up to 90 seconds of logins by the users from that number on
    since=$(date +%s)
    "${network[@]}" python3 -B deploy/engine/load.py "$work/environment.json" 90 "$1" >"$work/load" 2>&1 &
    load=$!
}
end_load() { # end_load MAX: stops the load; at most MAX cloudbox logins may have failed, and no others
    kill "$load" 2>/dev/null || true
    wait "$load" || true
    load=''
    cat "$work/load"
    tail -n 1 "$work/load" | note
    python3 - "$work/load" "$1" <<'PYTHON'
import json, pathlib, sys
results = json.loads(pathlib.Path(sys.argv[1]).read_text().splitlines()[-1])
dialects = [counts for counts in results.values() if isinstance(counts, dict)]
assert len(dialects) == 5 and all(counts["logins"] >= 5 for counts in dialects), results
failures = {name: counts["failures"] for name, counts in results.items() if isinstance(counts, dict)}
assert failures.pop("cloudbox") <= int(sys.argv[2]) and not any(failures.values()), results
PYTHON
}
answered() { # answered CONTAINER: the number of this load's requests that it has answered, without health checks
    docker logs --since "$since" "$1" 2>&1 | awk '/"answered"/ && !/"\/readyz"/ { count++ } END { print count + 0 }'
}
has_answered() { (($(answered "$1") >= $2)); }

replace_under_load() {
    local old new
    old=$(containers cloudbox)
    start_load 1
    eventually 30 has_answered "$old" 20
    deploy_roll --no-build cloudbox
    new=$(containers cloudbox)
    [[ -n $new && $new != "$old" ]] || fail "the container is the old one"
    eventually 30 has_answered "$new" 20
    end_load 0
}
deploy_roll() {
    COMPOSE_FILE=docker-compose.yml:deploy/engine/compose.yml deploy/roll "$@"
}

reject_failing_service() {
    local old
    old=$(containers tms)
    docker tag stele/svc-tms stele/good
    printf 'FROM stele/svc-tms\nENV STELE_LISTEN_FILE=/nowhere\n' | DOCKER_BUILDKIT=0 docker build --tag stele/svc-tms -
    ! deploy_roll --no-build tms || fail "a service that does not start replaced the old one"
    docker tag stele/good stele/svc-tms
    [[ $(containers tms) == "$old" ]] || fail "the old container was removed"
}

two_instances() {
    local service id
    compose -f deploy/compose.two.yml up --detach --no-recreate
    for service in "${services[@]}"; do
        eventually 120 healthy "$service" 2
    done
    start_load 16
    for id in $(containers cloudbox) $(containers tms) $(containers jwt); do
        eventually 60 has_answered "$id" 5
    done
    end_load 0
    for id in $(containers cloudbox); do
        echo "cloudbox ${id:0:12}: $(answered "$id") requests answered"
    done | note
}

kill_one() {
    local victim other pid
    { read -r victim; read -r other; } < <(containers cloudbox)
    start_load 31
    eventually 60 has_answered "$other" 5
    pid=$(docker inspect --format '{{.State.Pid}}' "$victim")
    kill -9 "$pid"
    # The engine restarts it.
    eventually 30 was_restarted "$victim"
    eventually 60 healthy cloudbox 2
    # Only logins in flight may fail: at most one of each of the eight cloudbox users.
    end_load 8
}
was_restarted() { [[ $(docker inspect --format '{{.RestartCount}}' "$1") != 0 ]]; }

remove_deployment() {
    compose -f deploy/compose.two.yml down --volumes --timeout 30
    [[ -z $(docker ps --all --quiet) ]] || fail "containers are left"
    [[ -z $(docker volume ls --quiet) ]] || fail "volumes are left"
    stop_engine
    ! grep -F " $work/" /proc/mounts || fail "mounts are left"
}
