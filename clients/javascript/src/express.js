/** Express middleware: `app.use("/invoices", bearer(await KeyFile.read("billing.keys.json")))`. */

import { Refused } from "./keys.js";

export function bearer(keys) {
  return async (request, response, next) => {
    try {
      request.bulla = await keys.open(token(request));
    } catch (error) {
      if (!(error instanceof Refused)) return next(error);
      response.locals.refused = error.reason;
      response.set({ "WWW-Authenticate": "Bearer", "Cache-Control": "no-store" });
      return void response.status(401).json({ error: "token refused" });
    }
    next();
  };
}

function token(request) {
  // Two headers could be read as one by us and as the other by whoever stands before us.
  const [value, ...more] = request.headersDistinct.authorization ?? [];
  const [, token] = /^bearer (.*)$/i.exec(value ?? "") ?? [];
  if (token === undefined || more.length) throw new Refused("missing");
  return token;
}
