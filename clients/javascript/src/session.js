/**
 * For pages that live on the session's cookies: a `fetch` that renews once on 401, one renewal for all tabs, and word
 * to all tabs when the session has ended.
 */
export function session({ at = "/auth", ended = () => {} } = {}) {
  const tabs = new BroadcastChannel("bulla");
  // When this tab last heard that the cookies are new.
  let renewed = -1;
  const hear = (good) => (good ? (renewed = performance.now()) : ended());
  const tell = (good) => (tabs.postMessage(good), hear(good));
  const post = (path) => fetch(at + path, { method: "POST" });
  tabs.onmessage = ({ data }) => hear(data);

  const renew = async (since) => {
    if (renewed > since) return true;
    const { ok, status } = await post("/refresh").catch(() => ({}));
    // Anything but yes or no, a server out of reach say, ends nothing.
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
      // Where another renewal is under way, it is waited for, and the request tried with what came of it.
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
