// A thin wrapper: React decides where the coach is and which supplier it is for; <everafter-coach> does the rest.
import { createElement, useEffect, useLayoutEffect, useRef } from "react";

const modules = new Map();
const useBeforePaint = typeof window === "undefined" ? useEffect : useLayoutEffect; // on a server neither runs, but useLayoutEffect warns

/** Load the custom element's module from the server, once per page. A failed load is retried by the next call. */
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

/** The coach of the supplier for whom `getToken` or `tokenUrl` returns a token. */
export function InAppCoach(props) {
  // Another supplier mounts a new coach.
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
    // A new function per render must not cause a new token: the element keeps one function that calls the latest.
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
