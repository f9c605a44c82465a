export interface Options {
  /** Where the server's session routes are; `/auth` without it. */
  at?: string;
  /** Called in every tab when the session has ended. May be called more than once. */
  ended?: () => void;
}

export interface Session {
  /**
   * The browser's `fetch`; a 401 from this origin is followed by one renewal for all tabs, and the request is tried once
   * more.
   */
  fetch: typeof fetch;
  /** Ends the session and tells every tab. */
  logout(): Promise<Response>;
}

export function session(options?: Options): Session;
