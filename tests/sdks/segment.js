// As a platform uses Segment's SDK. The page's query says where to and how.
import { AnalyticsBrowser } from "@segment/analytics-next";

const { server, key, way } = Object.fromEntries(new URLSearchParams(location.search));
const batching = { strategy: "batching", config: { size: 50, timeout: 3_600_000 } };
const analytics = AnalyticsBrowser.load(
  { writeKey: key, cdnURL: server },
  way === "leave" ? { integrations: { "Segment.io": { deliveryStrategy: batching } } } : {},
);
globalThis.send = async (supplier) => {
  await analytics.identify(supplier, { name: "Ann Frost" });
  await analytics.group(supplier, { plan: "pro" });
  await analytics.track("login");
  await analytics.track("feature_used", { feature: "forms" });
  await analytics.page("Clients");
  await analytics.alias(supplier, "visitor");
};
