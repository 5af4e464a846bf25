/* Asks: how the harness and its child processes talk, over Node's own channel between them.
 *
 *   harness → child   {id, ask, argument}
 *   child → harness   {id, progress}*, then {id, answer} or {id, error, stack}
 *
 * A child answers what its handlers name, and ends when the harness is gone. */

/** Tells the harness how far an ask is. */
export type Progress = (done: number) => void;

/** What a child can be asked, by name. */
export type Handlers = Record<string, (argument: never, progress: Progress) => unknown>;

export interface Ask {
  id: number;
  ask: string;
  argument: unknown;
}
export type Reply =
  | { id: number; progress: number }
  | { id: number; answer: unknown }
  | { id: number; error: string; stack?: string | undefined };

/** Between two progress messages, in ms. */
const progressEveryMs = 100;

/** Answers the harness's asks until it disconnects; then this process ends. Called once, by the child's script. */
export function serveAsks(handlers: Handlers): void {
  process.on("message", (message: Ask) => void serve(handlers, message));
  process.on("disconnect", () => process.exit(0));
  // Ctrl-C reaches the whole group; the harness is who ends its children.
  process.on("SIGINT", () => {});
}

async function serve(handlers: Handlers, { id, ask, argument }: Ask): Promise<void> {
  try {
    const handler = handlers[ask];
    if (handler === undefined) throw new Error(`there is no handler for ${ask}`);
    reply({ id, answer: await handler(argument as never, progressOf(id)) });
  } catch (error) {
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    reply({ id, error: message, stack });
  }
}

function progressOf(id: number): Progress {
  let toldMs = performance.now();
  return (done) => {
    const nowMs = performance.now();
    if (nowMs - toldMs < progressEveryMs) return;
    toldMs = nowMs;
    reply({ id, progress: done });
  };
}

function reply(message: Reply): void {
  // Nobody is left to hear it, when it cannot be sent: this process ends next.
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}
