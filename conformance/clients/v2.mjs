// The official TypeScript client of the second generation: @modelcontextprotocol/client, with or without a handshake.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

import { carryOut } from "./plan.mjs";

await carryOut(async (visit) => {
  const versionNegotiation = { mode: visit.mode ?? "auto" };
  const client = new Client({ name: "remit-conformance-v2", version: "1" }, { versionNegotiation });
  const headers = { Authorization: `Bearer ${visit.token}` };
  const { command, args, env } = visit;
  const transport = visit.url
    ? new StreamableHTTPClientTransport(new URL(visit.url), { requestInit: { headers } })
    : new StdioClientTransport({ command, args, env, stderr: "inherit" });
  await client.connect(transport);
  return { client, revision: () => client.getNegotiatedProtocolVersion() };
});
