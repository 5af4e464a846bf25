/* The document at /openapi.json is whole, and says what is served: no more, no less. */

import tap from "tap";

import { errorCodes } from "../../protocol/index.ts";
import { call, startServer } from "./server.ts";

interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  schema: object;
}
interface Operation {
  operationId: string;
  summary: string;
  parameters?: Parameter[];
  requestBody?: { content: { "application/json": { schema: { properties: object; required: string[] } } } };
  responses: Record<string, { $ref?: string; description?: string }>;
  security?: object[];
}
interface OpenApi {
  openapi: string;
  info: { title: string; version: string };
  paths: Record<string, Record<string, Operation>>;
  components: Record<string, Record<string, object>>;
}

const { url } = await startServer(tap);
const { headers, json } = await call(url, "GET /openapi.json");
const document = json as unknown as OpenApi;
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
);

await tap.test("it is OpenAPI 3.1 of this broker", async (t) => {
  t.match(headers["content-type"], /^application\/json/);
  t.equal(document.openapi, "3.1.0");
  t.match(document.info, { title: "Whalesong", version: "1.2.3" });
  t.same(Object.keys(document.components["securitySchemes"]!), ["bearer", "token", "user"]);
});

await tap.test("all it refers to is in it, and all that is named is referred to", async (t) => {
  const refs = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/(\w+)\/(\w+)"/g)];
  t.ok(refs.length > 50);
  for (const [ref, section, name] of refs) t.ok(document.components[section!]?.[name!], ref);
  const used = new Set(refs.map(([, section, name]) => `${section}/${name}`));
  const named = ["Cursor", "Error", "Handle", "Post", "PostEvent", "PostId", "RepostEvent", "StreamItem"];
  for (const name of named) t.ok(used.has(`schemas/${name}`), name);
});

await tap.test("nothing of the schema library's own leaks into it", async (t) => {
  t.notMatch(JSON.stringify(document), /"~|"\$id"|undefined/);
});

await tap.test("each operation has a name of its own, a summary and an answer", async (t) => {
  const names = operations.map(({ operation }) => operation.operationId);
  t.equal(new Set(names).size, names.length);
  for (const { path, method, operation } of operations) {
    t.ok(operation.summary, `${method} ${path}`);
    const statuses = Object.keys(operation.responses);
    t.ok(
      statuses.some((status) => status.startsWith("2")),
      `${method} ${path} answers`,
    );
    const isOpen = operation.security?.length === 0;
    if (!isOpen) for (const status of ["400", "401", "403", "500"]) t.ok(statuses.includes(status), path);
  }
});

await tap.test("parameters of a path are those in its braces; none is named twice", async (t) => {
  for (const { path, method, operation } of operations) {
    const parameters = operation.parameters ?? [];
    const inPath = parameters.filter((parameter) => parameter.in === "path");
    t.same(
      inPath.map(({ name }) => `{${name}}`),
      path.match(/\{\w+\}/g) ?? [],
      `${method} ${path}`,
    );
    t.ok(inPath.every(({ required }) => required === true));
    const names = parameters.map((parameter) => `${parameter.in} ${parameter.name}`);
    t.equal(new Set(names).size, names.length);
    for (const { schema } of parameters) t.ok(Object.keys(schema).length > 0);
  }
});

await tap.test("every error code is told of, under its status", async (t) => {
  const responses = document.components["responses"] as Record<string, { description: string }>;
  for (const [code, { status }] of Object.entries(errorCodes)) {
    t.match(responses[status]?.description, `\`${code}\``);
  }
  const schema = document.components["schemas"]!["Error"] as { properties: { code: { enum: string[] } } };
  t.same(schema.properties.code.enum, Object.keys(errorCodes));
});

await tap.test("what it tells of is served, with the parameters it tells of", async (t) => {
  for (const { path, method, operation } of operations) {
    const names = (operation.parameters ?? []).filter((parameter) => parameter.in === "query");
    const line = `${method} ${path.replaceAll(/\{\w+\}/g, "%20")}`;
    const answer = await call(url, line);
    t.ok(operation.responses[answer.status] !== undefined, `${line}: ${answer.status}`);
    t.not(answer.status, 405, line);
    for (const { name } of names) {
      const asked = await call(url, `${line}?user=alice&${encodeURIComponent(name)}=%20`);
      t.notMatch(asked.text, /no such parameter/, `${line} ${name}`);
    }
  }
});

await tap.test("what is served is told of", async (t) => {
  for (const { path, method, operation } of operations.filter(({ path: each }) => each.startsWith("/v1/"))) {
    const line = `${method} ${path.replaceAll(/\{\w+\}/g, "x")}`;
    const { error } = await call(url, `${line}?user=alice&%20=1`);
    const served = error.message.replace(/^.* there are /, "").split(", ");
    const told = (operation.parameters ?? []).filter((each) => each.in === "query").map(({ name }) => name);
    t.same(served.sort(), [...told, "user", "token"].sort(), line);
    const allow = (await call(url, `PATCH ${path.replaceAll(/\{\w+\}/g, "x")}`)).headers.allow as string;
    const methods = Object.keys(document.paths[path]!).map((each) => each.toUpperCase());
    t.same(
      allow
        .split(", ")
        .filter((each) => each !== "HEAD")
        .sort(),
      methods.sort(),
    );
  }
});
