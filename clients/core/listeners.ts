/* Listeners: typed callbacks of the client. A listener that throws disturbs neither the others nor the client. */

export class Listeners<Events extends object> {
  readonly #report: (error: unknown) => void;
  readonly #listeners = new Map<keyof Events, Set<(value: never) => void>>();

  constructor(report: (error: unknown) => void) {
    this.#report = report;
  }

  /** Adds a listener; the returned function takes it away. */
  on<Name extends keyof Events>(name: Name, listener: (value: Events[Name]) => void): () => void {
    let named = this.#listeners.get(name);
    if (named === undefined) this.#listeners.set(name, (named = new Set()));
    // A wrapper, so that a function added twice is called twice and removed once.
    const added = (value: Events[Name]): void => listener(value);
    named.add(added);
    return () => void named.delete(added);
  }

  emit<Name extends keyof Events>(name: Name, value: Events[Name]): void {
    const named = this.#listeners.get(name);
    if (named === undefined) return;
    // A copy: who is added while an event is told hears the next one first.
    for (const listener of Array.from(named)) {
      try {
        (listener as (value: Events[Name]) => void)(value);
      } catch (error) {
        this.#report(error);
      }
    }
  }
}
