/* nchan: nginx with the nchan module; WebSocket subscribers, publishing by HTTP POST. https://nchan.io
 *
 *     GET /sub/topic,topic,… ─► 101        a text frame for each payload        POST /pub/topic payload
 *
 * Publishes follow each other on one connection without waiting for answers; nginx takes them in order. */

import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Dialect } from "../load/dialect.ts";
import { openFileLimit } from "../machine.ts";
import { askProgram, findProgram } from "../targets/programs.ts";
import { topicName, topicNames, upgradeStep } from "./names.ts";
import type { Peer, PeerDialectOptions } from "./peer.ts";

const moduleFile = "ngx_nchan_module.so";

export const nchan: Peer = {
  key: "nchan",
  name: "nginx + nchan",
  install: "apt-get install nginx libnginx-mod-nchan",
  setting: "WebSocket, published by HTTP POST",
  dialect: "peers/nchan",
  createDialect,
  findVersion() {
    const version = askProgram("nginx", ["-v"], /nginx\/([\d.]+)/);
    if (version === undefined || findModule() === undefined) return undefined;
    const module = moduleVersion();
    return module === undefined ? version : `${version} + ${module}`;
  },
  prepare({ folder, port }) {
    const config = join(folder, "nginx.conf");
    writeFileSync(config, configuration(folder, port));
    return { file: findProgram("nginx")!, args: ["-c", config, "-e", join(folder, "error.log")] };
  },
};

function findModule(): string | undefined {
  const folder = askProgram("nginx", ["-V"], /--modules-path=(\S+)/);
  const path = folder === undefined ? undefined : join(folder, moduleFile);
  return path !== undefined && existsSync(path) ? path : undefined;
}

/** Debian's package tells; the module itself only once it runs. */
function moduleVersion(): string | undefined {
  const { stdout } = spawnSync("dpkg-query", ["-W", "-f", "${Version}", "libnginx-mod-nchan"], {
    encoding: "utf8",
  });
  return /^(?:\d+:)?([\d.]+)/.exec(stdout ?? "")?.[1];
}

function configuration(folder: string, port: number): string {
  const files = openFileLimit();
  return `load_module ${findModule()};
daemon off;
worker_processes 1;
worker_rlimit_nofile ${files};
pid ${join(folder, "nginx.pid")};
error_log ${join(folder, "error.log")} error;
events { worker_connections ${files}; multi_accept on; }
http {
  access_log off;
  client_body_temp_path ${join(folder, "body")};
  proxy_temp_path ${join(folder, "proxy")};
  fastcgi_temp_path ${join(folder, "fastcgi")};
  uwsgi_temp_path ${join(folder, "uwsgi")};
  scgi_temp_path ${join(folder, "scgi")};
  nchan_shared_memory_size 512m;
  nchan_max_channel_id_length 8192;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    large_client_header_buffers 4 16k;
    location ~ ^/sub/(.+)$ {
      nchan_subscriber websocket;
      nchan_channel_id $1;
      nchan_channel_id_split_delimiter ",";
      nchan_subscriber_first_message newest;
      nchan_subscriber_timeout 0;
      nchan_websocket_ping_interval 0;
    }
    location ~ ^/pub/(.+)$ {
      nchan_publisher http;
      nchan_channel_id $1;
      nchan_store_messages off;
    }
  }
}
`;
}

export function createDialect({ address, prefix }: PeerDialectOptions): Dialect {
  return {
    address,
    reader: ({ topics }) => ({
      steps: [upgradeStep({ address, path: `/sub/${topicNames(prefix, topics).join(",")}` })],
    }),
    publisher: () => ({
      // nginx answers a request for what is not there, so that the connection is known to be open.
      steps: [{ send: Buffer.from(`GET / HTTP/1.1\r\nHost: bench\r\n\r\n`), until: Buffer.from("</html>") }],
      publish: ({ topic, payload }) =>
        Buffer.from(
          `POST /pub/${topicName(prefix, topic)} HTTP/1.1\r\nHost: bench\r\nContent-Length: ${payload.length}\r\n\r\n${payload}`,
        ),
    }),
  };
}
