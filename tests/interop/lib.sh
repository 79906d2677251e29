# Sourced by the tests beside it, with $tidings set: a folder and a redis-server of their own, both gone at the end.
# shellcheck shell=bash disable=SC2154
unset TIDINGS_URL TIDINGS_PASSWORD TIDINGS_FAILPOINT REDISCLI_AUTH
work=$(mktemp -d)
export TMPDIR=$work
server='' port=''
children=()

stop_server() {
  [[ -n $server ]] || return 0
  kill "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  server=''
}
clean_up() {
  local rc=$?
  trap - EXIT
  # A child may be a shell around what it waits for.
  local child
  for child in "${children[@]}"; do
    pkill -P "$child" 2>/dev/null || true
    kill -9 "$child" 2>/dev/null || true
  done
  stop_server
  rm -rf "$work"
  exit "$rc"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

die() {
  printf '%s\n' "$*"
  tail -n 20 "$work"/*.log 2>/dev/null || true
  exit 1
}
# same WHAT EXPECTED FOUND
same() { [[ $3 == "$2" ]] || die "$1: expected <$2>, found <$3>"; }
# same_file WHAT EXPECTED FOUND
same_file() { cmp -s "$2" "$3" || { diff "$2" "$3" | head -n 20 || true; die "$1: the files differ"; }; }
# has WHAT FILTER: the JSON on stdin fulfils it.
has() {
  local json
  json=$(cat)
  jq -e "$2" >/dev/null <<<"$json" || die "$1: $2 does not hold for $json"
}

redis() { timeout 20 redis-cli -e -h 127.0.0.1 -p "$port" "$@"; }
tidings() { timeout 60 "$tidings" "$@" 2>>"$work/tidings.log"; }
group() { tidings groups "$1" --json | jq -c --arg g "$2" '.[] | select(.group == $g)'; }
# The envelopes of a stream as they are stored, one a line.
stored() { redis --json XRANGE "$1" - + | jq -r '.[][1][1]'; }

# Starts a server with these options more. That it is ours which answers, and not another on a port that was taken, its
# process id says. $REDISCLI_AUTH is the password, if there is one.
start_server() {
  command -v redis-server >/dev/null || die "redis-server is missing; scripts/setup test installs it"
  local tries
  for ((tries = 0; tries < 100; ++tries)); do
    # Below those that the kernel gives to outgoing connections.
    port=$((10000 + RANDOM % 22000))
    redis-server --port "$port" --bind 127.0.0.1 --dir "$work" --daemonize no --save '' --appendonly no "$@" >"$work/server.log" 2>&1 &
    server=$!
    while kill -0 "$server" 2>/dev/null; do
      if [[ $(redis PING 2>/dev/null) == PONG && $(redis INFO server 2>/dev/null) == *process_id:"$server"[!0-9]* ]]; then return; fi
    done
    stop_server
    grep -q 'already in use' "$work/server.log" || die "redis-server ended instead of starting"
  done
  die "no free port on the loopback"
}
