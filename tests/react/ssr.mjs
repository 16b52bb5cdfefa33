// Rendered on a server, without a document.
import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { InAppCoach } from "./everafter-react/index.js";

console.log(renderToString(createElement(InAppCoach, { supplierId: "7", server: "https://success.example.com", page: "/forms", getToken: async () => "x" })));
