/* System calls: functions of the C library that Node.js does not have, called through koffi, whose npm package brings a binary for each
 * platform. It is loaded when a call is first asked for. */

export type SystemCall = (...args: unknown[]) => { result: number; errno: number };

/** koffi has no binary for this platform, or the platform no such call. */
export class SystemCallError extends Error {
  override readonly name = "SystemCallError";
}

/** The function that C declares so. @throws SystemCallError */
export async function systemCall(declaration: string): Promise<SystemCall> {
  try {
    const { default: koffi } = await import("koffi");
    const call = koffi.load(null).func(declaration) as (...args: unknown[]) => number;
    return (...args) => ({ result: call(...args), errno: koffi.errno() });
  } catch (cause) {
    const { platform, arch } = process;
    throw new SystemCallError(
      `koffi cannot call ${declaration} on ${platform} ${arch} (${(cause as Error).message})`,
      { cause },
    );
  }
}
