/** Express middleware: `app.use("/invoices", bearer(await KeyFile.read("billing.keys.json")))`. */

import { Refused } from "./keys.js";

export function bearer(keys, { purposes = [keys.purpose] } = {}) {
  return async (request, response, next) => {
    try {
      const opened = await keys.open(token(request));
      if (!purposes.includes(opened.purpose)) throw new Refused("purpose");
      request.bulla = opened;
    } catch (error) {
      if (!(error instanceof Refused)) return next(error);
      response.locals.refused = error.reason;
      response.set({ "WWW-Authenticate": "Bearer", "Cache-Control": "no-store" });
      return void response.status(401).json({ error: "token refused" });
    }
    next();
  };
}

/** Returns the content of the request's token; throws if `bearer` has not opened it. */
export function opened(request) {
  if (!request.bulla) throw new Error("no opened token: put bearer(keys) in front of this handler");
  return request.bulla;
}

function token(request) {
  // With two headers, a proxy in front may have checked the other one.
  const [value, ...more] = request.headersDistinct.authorization ?? [];
  const [, token] = /^bearer (.*)$/i.exec(value ?? "") ?? [];
  if (token === undefined || more.length) throw new Refused("missing");
  return token;
}
