// As a platform uses RudderStack's SDK, with its plugins bundled. The page's query says where to and how.
import { RudderAnalytics } from "@rudderstack/analytics-js/bundled";

const { server, key, way } = Object.fromEntries(new URLSearchParams(location.search));
const analytics = new RudderAnalytics();
const queue = { batch: { enabled: true, maxItems: 6, flushInterval: 3_600_000 } };
analytics.load(key, server, {
  configUrl: server,
  ...(way === "leave" ? { useBeacon: true } : {}),
  ...(way === "batch" ? { queueOptions: queue } : {}),
});
globalThis.send = async (supplier) => {
  analytics.identify(supplier, { name: "Ann Frost" });
  analytics.group(supplier, { plan: "pro" });
  analytics.track("login");
  analytics.track("feature_used", { feature: "forms" });
  analytics.page("Clients");
  analytics.alias(supplier, "visitor");
};
