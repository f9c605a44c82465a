export interface Options {
  /** The path of the server's session routes; by default `/auth`. */
  at?: string;
  /** Called in every tab when the session has ended. It can be called more than once. */
  ended?: () => void;
}

export interface Session {
  /**
   * As the browser's `fetch`. After a 401 from this origin, the session is renewed once for all tabs, and the request is
   * sent once more.
   */
  fetch: typeof fetch;
  /** Ends the session and tells every tab. */
  logout(): Promise<Response>;
}

export function session(options?: Options): Session;
