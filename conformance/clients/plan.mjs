// What both generations of the official TypeScript client are made to do: read a plan on stdin, carry it out, print JSON.
//
// A plan is a list of visits: {"url", "token"} or {"command", "args", "env"}, with "mode" for a client that negotiates,
// and "calls": [{"name", "arguments"}]. Each visit connects, lists the tools, makes the calls one after another, and
// leaves. The token comes on stdin and stands on no command line.

import { stdin, stdout } from "node:process";

async function read() {
  let text = "";
  for await (const chunk of stdin.setEncoding("utf8")) text += chunk;
  return JSON.parse(text);
}

async function said(call) {
  try {
    return { result: await call };
  } catch (error) {
    return { error: { code: error.code ?? null, message: String(error.message) } };
  }
}

async function visited(connect, visit) {
  const { client, revision } = await connect(visit);
  try {
    const tools = [];
    let cursor;
    do {
      const page = await client.listTools(cursor === undefined ? {} : { cursor });
      tools.push(...page.tools);
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    const calls = [];
    for (const call of visit.calls) calls.push(await said(client.callTool(call)));
    return { revision: revision(), tools, calls };
  } finally {
    await client.close();
  }
}

// Carry the plan out with `connect`, which makes one connected client for a visit.
export async function carryOut(connect) {
  const visits = [];
  for (const visit of await read()) visits.push(await said(visited(connect, visit)));
  stdout.write(JSON.stringify(visits.map((one) => one.result ?? one)) + "\n");
}
