#!/bin/sh
# Installs the Debian packages that tests run against, where they are missing and can be installed.
# A test that finds its program missing says so; with CI=true it fails.
set -eu

# Servers stand where only root's PATH leads.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
has() { command -v "$1" >/dev/null 2>&1; }
missing=""
has chromium || missing="$missing chromium"
# What the runbook's commands and files need.
for tool in curl openssl; do has $tool || missing="$missing $tool"; done
# Stalls a process' disk, and sets a process' clock.
has strace || missing="$missing strace"
has faketime || missing="$missing faketime"
# A cluster's log, and what the bench compares with.
servers=""
for server in redis-server mosquitto nats-server nginx; do has $server || servers="$servers $server"; done
# Its promtool checks the alerts.
has promtool || servers="$servers prometheus"
missing="$missing$servers"
[ -e /usr/lib/nginx/modules/ngx_nchan_module.so ] || missing="$missing libnginx-mod-nchan"
[ -z "$missing" ] && exit 0

if ! has apt-get; then
  echo "test set-up: please install:$missing" >&2
  exit 0
fi
root=""
if [ "$(id -u)" -ne 0 ]; then
  if has sudo && sudo -n true 2>/dev/null; then root="sudo -n"; else
    echo "test set-up: please run: sudo apt-get install -y$missing" >&2
    exit 0
  fi
fi
echo "test set-up: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# Tests start their own servers: what is installed for them is not to run as a service, now or after the next start.
policy=/usr/sbin/policy-rc.d
if [ -n "$servers" ] && [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null && $root chmod +x "$policy"
  trap '$root rm -f "$policy"' EXIT
fi
$root apt-get update -q >/dev/null && $root apt-get install -y -q --no-install-recommends $missing >/dev/null || {
  echo "test set-up: could not install$missing; its tests will say so" >&2
}
for server in $servers; do
  if has systemctl; then $root systemctl disable "$server" >/dev/null 2>&1 || true; fi
done
