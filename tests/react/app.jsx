// A small React platform: two pages by its own router, a supplier who can be changed, StrictMode on.
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { InAppCoach } from "./everafter-react/index.js";

const reported = (globalThis.reported = { tokens: [], actions: [], booked: [], celebrated: [], errors: [] });

function Platform({ server, suppliers }) {
  const [page, setPage] = useState("/dashboard");
  const [supplier, setSupplier] = useState(suppliers[0]);
  const [shown, setShown] = useState(true);
  const [count, setCount] = useState(0);
  return (
    <main>
      <h1>{page}</h1>
      <button onClick={() => setPage("/forms")}>Forms</button>
      <button onClick={() => setSupplier(suppliers[1])}>Somebody else</button>
      <button onClick={() => setShown(!shown)}>Coach on and off</button>
      <button onClick={() => setCount(count + 1)}>Rendered {count}</button>
      {shown && (
        <InAppCoach
          supplierId={supplier}
          server={server}
          page={page}
          locale="en"
          getToken={async (id) => (reported.tokens.push(id), (await (await fetch(`/token/${id}`)).json()).token)}
          onAction={({ url }) => (reported.actions.push(url), setPage(url), false)}
          onBooked={(call) => reported.booked.push(call)}
          onCelebrate={(celebration) => reported.celebrated.push(celebration)}
          onError={(error) => reported.errors.push(String(error?.message ?? error))}
        />
      )}
    </main>
  );
}

const settings = JSON.parse(document.querySelector("#settings").textContent);
createRoot(document.querySelector("#app")).render(
  <StrictMode>
    <Platform {...settings} />
  </StrictMode>,
);
