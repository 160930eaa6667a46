# shellcheck shell=bash
# The steps of test-on-engine after the engine is there. Each stops the test when a command in it fails.

current='' began=0 passed=0

step() { # step NAME COMMAND…: one line, PASS or FAIL; what the command says is shown only if it fails
    current=$1 began=$SECONDS
    shift
    exec 3>&1
    "$@" >"$work/said" 2>&1
    printf 'PASS  %-58s %4d s\n' "$current" $((SECONDS - began))
    current='' passed=$((passed + 1))
}
note() { sed 's/^/          /' >&3; }
failed() { # what the EXIT trap says when a step did not come to its end
    if [[ -n $current ]]; then
        printf 'FAIL  %-58s %4d s\n' "$current" $((SECONDS - began)) >&3
        tail -n 40 "$work/said" | note
    fi
}
fail() { echo "$*"; return 1; }
summary() { echo "$passed passed, 0 failed"; }

eventually() { # eventually SECONDS COMMAND…: tries until it succeeds
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || { echo "not within the time: $*"; return 1; }
        sleep 0.25
    done
}

compose() {
    docker-compose -f docker-compose.yml -f deploy/engine/compose.yml "$@"
}
containers() { docker ps --quiet --no-trunc --filter "label=com.docker.compose.service=$1"; }
healthy() { # healthy SERVICE COUNT: so many containers of it are healthy
    [[ $(docker ps --quiet --filter "label=com.docker.compose.service=$1" --filter health=healthy | wc -l) == "$2" ]]
}
curl_gateway() { "${network[@]}" curl --silent --show-error --fail "$@"; }

come_up() {
    cd "$work/stele"
    deploy/make-secrets
    # Nothing is changed in the tree for this: the same command as in the file's head, with one override for the limits.
    compose up --detach
    local service
    for service in gateway postgres redis "${services[@]}"; do
        eventually 120 healthy "$service" 1
    done
    echo "all healthy $((SECONDS - began)) s after the command" | note
    curl_gateway http://127.0.0.1:8080/readyz
    people
}

people() { # the clients' surroundings, in $work/around.json
    compose run --rm -T --volume "$work/stele/deploy/engine/people.sh:/people.sh:ro" --entrypoint sh migrate \
        /people.sh 45 >"$work/people.json"
    local outbox
    outbox=$(docker volume inspect --format '{{.Mountpoint}}' stele_outbox)/outbox.jsonl
    python3 - "$work" "$outbox" <<'PYTHON'
import json, pathlib, sys
work = pathlib.Path(sys.argv[1])
around = json.loads((work / "people.json").read_text())
around |= {"url": "http://127.0.0.1:8080", "outbox": sys.argv[2],
           "mefp_secret": (work / "stele/deploy/secrets/mefp_secret").read_text()}
(work / "around.json").write_text(json.dumps(around))
PYTHON
}

look_at_rights() {
    local id published
    for id in $(docker ps --quiet); do
        docker inspect "$id" >"$work/container.json"
        python3 - "$work" <<'PYTHON'
import json, pathlib, sys
work = pathlib.Path(sys.argv[1])
(it,) = json.loads((work / "container.json").read_text())
name, host = it["Name"], it["HostConfig"]
assert it["Config"]["User"] not in ("", "0", "root"), name
assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and not host["Privileged"], name
assert "no-new-privileges:true" in host["SecurityOpt"] and host["Memory"] > 0 and host["PidsLimit"] > 0, name
said = json.dumps(it)
for secret in (work / "stele/deploy/secrets").iterdir():
    text = secret.read_text().strip()
    assert len(text) < 16 or text not in said, f"{name} shows {secret.name}"
keys = [mount for mount in it["Mounts"] if mount["Destination"] == "/var/lib/stele-keys"]
assert all(not mount["RW"] for mount in keys), name
PYTHON
    done
    published=$(docker ps --format '{{.Ports}}' | grep -o '[^ ]*->[^ ,]*' | sort -u)
    [[ $published == "127.0.0.1:8080->8080/tcp" ]] || fail "published: $published"
    # The gateway cannot even name the stores.
    local gateway
    gateway=$(containers gateway)
    docker exec "$gateway" getent hosts jwt
    ! docker exec "$gateway" getent hosts postgres || fail "the gateway reaches the stores"
    ! docker exec "$(containers cloudbox)" touch /var/lib/stele-keys/x || fail "a service can write the keys"
}

every_dialect() {
    "${network[@]}" python3 -B crates/stele/tests/e2e/independent/client.py "$work/around.json" | tee "$work/answers"
    [[ $(grep -c 'as documented' "$work/answers") == "${#services[@]}" ]]
    note <"$work/answers"
}

load='' since=''
start_load() { # start_load FIRST: up to 90 seconds of logins by the people from that number on
    since=$(date +%s)
    "${network[@]}" python3 -B deploy/engine/load.py "$work/around.json" 90 "$1" >"$work/load" 2>&1 &
    load=$!
}
end_load() { # end_load MOST: told to stop; at most so many cloudbox logins have failed, and no other
    kill "$load" 2>/dev/null || true
    wait "$load" || true
    load=''
    cat "$work/load"
    tail -n 1 "$work/load" | note
    python3 - "$work/load" "$1" <<'PYTHON'
import json, pathlib, sys
told = json.loads(pathlib.Path(sys.argv[1]).read_text().splitlines()[-1])
dialects = [counts for counts in told.values() if isinstance(counts, dict)]
assert len(dialects) == 5 and all(counts["logins"] >= 5 for counts in dialects), told
failures = {name: counts["failures"] for name, counts in told.items() if isinstance(counts, dict)}
assert failures.pop("cloudbox") <= int(sys.argv[2]) and not any(failures.values()), told
PYTHON
}
answered() { # answered CONTAINER: how many requests of this load it has answered, the gateway's own questions left out
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

refuse_a_bad_one() {
    local old
    old=$(containers tms)
    docker tag stele/svc-tms stele/good
    printf 'FROM stele/svc-tms\nENV STELE_LISTEN_FILE=/nowhere\n' | DOCKER_BUILDKIT=0 docker build --tag stele/svc-tms -
    ! deploy_roll --no-build tms || fail "a service that does not start was put in place"
    docker tag stele/good stele/svc-tms
    [[ $(containers tms) == "$old" ]] || fail "the old container is gone"
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
    # The engine starts it again by itself.
    eventually 30 died "$victim"
    eventually 60 healthy cloudbox 2
    # Only what was in flight on it: at most one login of each of the eight who log in there.
    end_load 8
}
died() { [[ $(docker inspect --format '{{.RestartCount}}' "$1") != 0 ]]; }

come_down() {
    compose -f deploy/compose.two.yml down --volumes --timeout 30
    [[ -z $(docker ps --all --quiet) ]] || fail "containers are left"
    [[ -z $(docker volume ls --quiet) ]] || fail "volumes are left"
    stop_engine
    ! grep -F " $work/" /proc/mounts || fail "mounts are left"
}
