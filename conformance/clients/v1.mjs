// The official TypeScript client of the first generation: @modelcontextprotocol/sdk 1.x, revisions with a handshake.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

import { carryOut } from "./plan.mjs";

await carryOut(async (visit) => {
  const client = new Client({ name: "remit-conformance-v1", version: "1" });
  const headers = { Authorization: `Bearer ${visit.token}` };
  const { command, args, env } = visit;
  const transport = visit.url
    ? new StreamableHTTPClientTransport(new URL(visit.url), { requestInit: { headers } })
    : new StdioClientTransport({ command, args, env, stderr: "inherit" });
  let revision = null;
  if (visit.url === undefined) {
    // What was agreed is told to the transport, and this one keeps it for nobody.
    transport.setProtocolVersion = (agreed) => {
      revision = agreed;
    };
  }
  await client.connect(transport);
  return { client, revision: () => revision ?? transport.protocolVersion };
});
