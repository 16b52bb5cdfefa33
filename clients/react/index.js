// A thin wrapper: React decides where the coach stands and whom it is for, <everafter-coach> does the rest.
import { createElement, useEffect, useLayoutEffect, useRef } from "react";

const modules = new Map();
const useBeforePaint = typeof window === "undefined" ? useEffect : useLayoutEffect; // on a server neither runs; only one is silent

/** The custom element's module from that server, once a page; a failed load is tried again by the next call. */
export function loadCoach(server = "") {
  const address = `${server.replace(/\/+$/, "")}/coach.js`;
  if (!modules.has(address)) {
    const loading = import(/* @vite-ignore */ /* webpackIgnore: true */ /* turbopackIgnore: true */ address);
    modules.set(address, loading);
    loading.catch(() => modules.delete(address));
  }
  return modules.get(address);
}

const EVENTS = { "everafter:action": "onAction", "everafter:booked": "onBooked", "everafter:celebrate": "onCelebrate", "everafter:error": "onError" };

/** The coach of the supplier for whom `getToken` (or the address `tokenUrl`) gives a token. */
export function InAppCoach(props) {
  // Another supplier is another coach: nothing of the one before is kept.
  return createElement(Coach, { ...props, key: `${props.server ?? ""} ${props.supplierId ?? ""}` });
}

function Coach({ supplierId, getToken, tokenUrl, server, page, locale, app, className, style, ...handlers }) {
  const element = useRef(null);
  const latest = useRef(handlers);
  const ask = useRef(getToken);
  useBeforePaint(() => {
    latest.current = handlers;
    ask.current = getToken;
  });

  const asks = Boolean(getToken);
  useBeforePaint(() => {
    const coach = element.current;
    // A new function on each render must not make a new token each time: the element keeps one that asks the latest.
    if (asks) coach.getToken = () => ask.current(supplierId);
    const listeners = Object.entries(EVENTS).map(([type, name]) => {
      const listen = (event) => {
        if (latest.current[name]?.(event.detail, event) === false) event.preventDefault();
      };
      coach.addEventListener(type, listen);
      return () => coach.removeEventListener(type, listen);
    });
    return () => listeners.forEach((stop) => stop());
  }, [asks, supplierId]);

  useEffect(() => {
    loadCoach(server).catch((error) => latest.current.onError?.(error));
  }, [server]);

  return createElement("everafter-coach", {
    ref: element,
    "supplier-id": supplierId,
    "token-url": tokenUrl,
    server,
    page,
    locale,
    app,
    class: className,
    style,
  });
}
