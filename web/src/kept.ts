// What is kept in this browser: read by every tab, heard of by all of them.
import { useSyncExternalStore } from "react";

const OWN_CHANGE = "kept-changed";

/** A value in local storage. `read` makes of what is stored what it should be; nothing stored there is trusted. */
export class Kept<T> {
  private text: string | null | undefined;
  private value: T | undefined;

  constructor(
    private readonly name: string,
    private readonly parse: (stored: unknown) => T,
  ) {}

  /** As it is stored now; the same value as before while nothing has changed. */
  get = (): T => {
    const text = localStorage.getItem(this.name);
    if (this.value === undefined || text !== this.text) {
      let stored: unknown = null;
      try {
        stored = text === null ? null : JSON.parse(text);
      } catch {
        // broken from outside: as if nothing were there
      }
      this.text = text;
      this.value = this.parse(stored);
    }
    return this.value;
  };

  set(value: T | null): void {
    if (value === null) localStorage.removeItem(this.name);
    else localStorage.setItem(this.name, JSON.stringify(value));
    dispatchEvent(new Event(OWN_CHANGE));
  }

  use(): T {
    return useSyncExternalStore(listen, this.get);
  }
}

function listen(changed: () => void): () => void {
  addEventListener("storage", changed);
  addEventListener(OWN_CHANGE, changed);
  return () => {
    removeEventListener("storage", changed);
    removeEventListener(OWN_CHANGE, changed);
  };
}
