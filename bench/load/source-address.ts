/* Source address: where a load's connections come from.
 *
 * A source address has some 28,000 ports, and the kernel looks for a free one from some place on, one after the other, in half of them
 * first. Here that took 20 µs for each connection, and 800 µs once 14,000 came from one address (1,500 µs past 7,000
 * where the address is named, as it must be when there are several). Ports of connections just dropped are not free for a
 * minute. So a large crowd comes from many addresses, a few thousand from each: on Linux all of 127.0.0.0/8 is this machine. */

/** More than this in all, and they come from several addresses. */
const mostFromOne = 10_000;
/** Of one address, when there are several: room for those dropped just now, twice. */
const perAddress = 2_000;

/** Whether so many connections to `host` are to come from several addresses. */
export function comesFromMany(connections: number, host: string): boolean {
  return connections > mostFromOne && process.platform === "linux" && host.startsWith("127.");
}

/** Where the `index`th connection of a process comes from. Processes have addresses of their own, new ones in each run. */
export function sourceAddress(pid: number, index: number): string {
  return `127.${64 + ((pid >> 8) & 127)}.${pid & 255}.${1 + (Math.floor(index / perAddress) % 254)}`;
}
