// Uses that must fit the types, and uses that must not.
import { InAppCoach, loadCoach, type InAppCoachProps } from "./everafter-react/index.js";

export const whole = (
  <InAppCoach
    supplierId="7"
    server="https://success.example.com"
    page="/forms"
    locale="de-AT"
    app="https://app.example.com"
    getToken={async (id) => `token of ${id ?? "nobody"}`}
    onAction={({ id, url }) => (id + url).length === 0}
    onBooked={(call) => void call.csm.name.trim()}
    onCelebrate={(celebration) => void celebration.certificate_url?.trim()}
    onError={(error: unknown) => void error}
  />
);
export const short = <InAppCoach tokenUrl="/coach-token" />;
export const props: InAppCoachProps = { tokenUrl: "/coach-token" };
void loadCoach("https://success.example.com").then(() => undefined);

// @ts-expect-error: somebody must give the token
export const nobody = <InAppCoach page="/forms" />;
// @ts-expect-error: one way or the other
export const both = <InAppCoach tokenUrl="/coach-token" getToken={async () => "x"} />;
// @ts-expect-error: a token comes later
export const now = <InAppCoach getToken={() => "x"} />;
// @ts-expect-error: an action has no such field
export const field = <InAppCoach tokenUrl="/t" onAction={(action) => action.href} />;
