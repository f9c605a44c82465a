/**
 * For pages that use the session's cookies: a `fetch` that renews the session after a 401, with one renewal for all
 * tabs, and a message to all tabs when the session has ended.
 */
export function session({ at = "/auth", ended = () => {} } = {}) {
  const tabs = new BroadcastChannel("bulla");
  // The last time at which this tab learned that the cookies are new.
  let renewed = -1;
  const hear = (good) => (good ? (renewed = performance.now()) : ended());
  const tell = (good) => (tabs.postMessage(good), hear(good));
  const post = (path) => fetch(at + path, { method: "POST" });
  tabs.onmessage = ({ data }) => hear(data);

  const renew = async (since) => {
    if (renewed > since) return true;
    const { ok, status } = await post("/refresh").catch(() => ({}));
    // Any other result, such as a server that cannot be reached, does not end the session.
    if (ok || status === 401) tell(ok);
    return ok;
  };
  const lock = (ifAvailable, job) => navigator.locks.request("bulla", { ifAvailable }, job);

  return {
    async fetch(input, init) {
      const request = new Request(input, init);
      const since = performance.now();
      const answer = await fetch(request.clone());
      if (answer.status !== 401 || !request.url.startsWith(`${location.origin}/`)) return answer;
      // If another renewal is running, wait for it and send the request again with the new cookies.
      const good = await lock(true, (free) => !free || renew(since));
      if (good) await lock(false, () => {});
      return good ? fetch(request) : answer;
    },
    async logout() {
      const answer = await post("/logout");
      if (answer.ok) tell(false);
      return answer;
    },
  };
}
