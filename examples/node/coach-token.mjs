// A coach token for one supplier's browser. Needs only Node; copy it into your server.
//
// With Express, behind your own sign-in:
//
//   app.get("/coach-token", requireLogin, (request, response) => {
//     const token = coachToken(process.env.COACH_KEY, request.user.supplierId, { locale: request.user.locale });
//     response.set("Cache-Control", "no-store").json({ token });
//   });
//
// On the command line: COACH_KEY=ea_coach_… node coach-token.mjs SUPPLIER_ID [LOCALE]

import { createHmac } from "node:crypto";
import { argv, env, exit } from "node:process";
import { pathToFileURL } from "node:url";

const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** Sign a token that is valid for `minutes` (at most 15). key: the output of `everafter key create --scope coach`. */
export function coachToken(key, supplierId, { locale, minutes = 10 } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: supplierId, aud: "everafter-coach", iat: now, exp: now + 60 * minutes, locale };
  const signed = `${part({ alg: "HS256", typ: "coach+jwt" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
}

if (argv[1] && import.meta.url === pathToFileURL(argv[1]).href) {
  if (!argv[2] || !env.COACH_KEY) {
    console.error("usage: COACH_KEY=ea_coach_… node coach-token.mjs SUPPLIER_ID [LOCALE]");
    exit(1);
  }
  console.log(coachToken(env.COACH_KEY, argv[2], { locale: argv[3] }));
}
