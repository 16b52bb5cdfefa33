// As a platform uses PostHog's SDK. The page's query says where to and how.
import posthog from "posthog-js";

const { server, key, way } = Object.fromEntries(new URLSearchParams(location.search));
posthog.init(key, {
  api_host: server,
  capture_pageview: false,
  disable_surveys: true,
  opt_out_useragent_filter: true, // a driven browser would be taken for a robot
  ...(way === "plain" ? { disable_compression: true } : {}),
  ...(way === "leave" ? { request_queue_config: { flush_interval_ms: 5_000 } } : {}),
});
globalThis.send = async (supplier) => {
  posthog.identify(supplier, { name: "Ann Frost" });
  posthog.group("supplier", supplier, { plan: "pro" });
  posthog.capture("login");
  posthog.capture("feature_used", { feature: "forms" });
  posthog.capture("$pageview");
  posthog.alias("visitor", supplier);
};
