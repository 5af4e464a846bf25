#!/bin/sh
# Installs the Debian packages that tests run against, where they are missing and can be installed.
# A test that finds its program missing says so; with CI=true it fails.
set -eu

missing=""
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
[ -z "$missing" ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  echo "test set-up: please install:$missing" >&2
  exit 0
fi
root=""
if [ "$(id -u)" -ne 0 ]; then
  if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then root="sudo -n"; else
    echo "test set-up: please run: sudo apt-get install -y$missing" >&2
    exit 0
  fi
fi
echo "test set-up: installing$missing"
export DEBIAN_FRONTEND=noninteractive
$root apt-get update -q >/dev/null && $root apt-get install -y -q --no-install-recommends $missing >/dev/null || {
  echo "test set-up: could not install$missing; its tests will say so" >&2
}
